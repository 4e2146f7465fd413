"""Callbacks from providers: verified, kept as they came, handed on to receipts."""
