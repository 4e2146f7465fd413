"""Messages: the live list, its filters in the address, and a drawer with all that happened to
one.
"""
