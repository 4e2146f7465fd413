"""Keys: the list, the dialog that makes one, and the only time it is shown."""
