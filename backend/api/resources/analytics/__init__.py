"""Handlers and bodies of analytics."""
