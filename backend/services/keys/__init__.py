"""API keys: made, limited to scopes and origins, and counted in use."""
