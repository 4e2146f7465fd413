"""Handlers and bodies of audit."""
