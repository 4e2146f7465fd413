"""The HTTP API, called as clients call it."""
