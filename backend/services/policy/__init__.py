"""Who may send how much."""
