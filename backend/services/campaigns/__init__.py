"""Campaigns: one message to every row of a CSV table."""
