"""Read models: lists, details and numbers. Nothing here changes a row."""
