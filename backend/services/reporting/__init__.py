"""Reporting: lists, details and numbers. It reads across rooms, and never changes a row."""
