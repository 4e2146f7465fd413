"""The catalog: what the send path reads at each send, cached for a few seconds."""
