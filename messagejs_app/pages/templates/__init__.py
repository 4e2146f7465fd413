"""Templates: the list, and an editor with a live preview beside it."""
