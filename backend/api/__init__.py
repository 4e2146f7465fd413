"""The public HTTP API: HTTP in, HTTP out, no decisions."""
