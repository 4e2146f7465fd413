"""The frame around every request: middleware, limits of addresses, errors as answers."""
