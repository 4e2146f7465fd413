"""Campaigns: upload a table, check it, send it, watch it."""
