"""Playground: send something, beside the same call in three languages."""
