"""How each database writes an expression: the standard's way in `base`, and per database what differs."""
