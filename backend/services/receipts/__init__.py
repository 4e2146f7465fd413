"""Callbacks are verified, stored raw and answered at once; their receipts move messages by
rank.
"""
