"""Policy: who may send what, to whom, and how much."""
