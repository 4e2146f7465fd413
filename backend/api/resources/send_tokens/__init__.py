"""Handlers and bodies of send tokens."""
