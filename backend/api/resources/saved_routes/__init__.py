"""Handlers and bodies of saved routes."""
