"""Campaigns: a table uploaded, checked, sent, watched."""
