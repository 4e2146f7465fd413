"""One provider, one file; the files with `_` are the frame they fill."""
