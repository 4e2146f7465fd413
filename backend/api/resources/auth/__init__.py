"""Handlers and bodies of auth."""
