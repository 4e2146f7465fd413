"""Handlers and bodies of connectors."""
