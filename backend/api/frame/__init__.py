"""The frame around every request: middleware, limits per address, errors as answers."""
