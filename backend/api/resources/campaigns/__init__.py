"""Handlers and bodies of campaigns."""
