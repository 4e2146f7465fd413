"""Delivery: claimed messages are handed over, and what came of each try is recorded."""
