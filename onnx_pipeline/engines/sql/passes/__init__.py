"""What is done to a whole graph or all of its expressions; one pass per module."""
