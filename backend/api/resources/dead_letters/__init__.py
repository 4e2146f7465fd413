"""Handlers and bodies of dead letters."""
