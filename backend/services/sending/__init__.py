"""Sending: a request is checked, rendered and written, and the workers are woken."""
