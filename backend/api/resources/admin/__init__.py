"""Handlers and bodies of admin."""
