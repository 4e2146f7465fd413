"""Decisions, one folder for each concern. Services take `session` and never commit."""
