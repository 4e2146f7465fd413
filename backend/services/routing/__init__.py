"""Saved routes: channels and connectors that are tried one after the other."""
