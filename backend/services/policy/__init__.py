"""Step 3: who may send how much."""
