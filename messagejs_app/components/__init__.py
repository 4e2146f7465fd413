"""Stateless pieces: they show what they are given and decide nothing."""
