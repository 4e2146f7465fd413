"""Handlers and bodies of templates."""
