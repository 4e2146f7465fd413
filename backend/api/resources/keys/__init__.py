"""Handlers and bodies of keys."""
