"""Templates: texts with variables, checked when stored and rendered for a channel."""
