"""Handlers and bodies of messages."""
