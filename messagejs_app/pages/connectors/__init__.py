"""Connectors: the list and gallery, and one form for every provider, made from its credential
schema.
"""
