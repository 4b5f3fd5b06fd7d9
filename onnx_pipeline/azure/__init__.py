"""Azure: which storage account, how to sign in there, and what its failures mean.

Only modules of this package, and stores that a URI asked for, import Azure's clients, and only when they are used.
"""
