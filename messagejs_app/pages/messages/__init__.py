"""Messages: the live list, with its filters in the address, and a drawer for one message."""
