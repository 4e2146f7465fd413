"""Liquid, compiled once and limited: what a text means and what it may cost."""
