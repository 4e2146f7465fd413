"""Handlers and bodies of members."""
