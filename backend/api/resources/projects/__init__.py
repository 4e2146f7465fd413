"""Handlers and bodies of projects."""
