"""Liquid, compiled once and bounded: what a text means and what it may cost."""
