"""Step 7: claimed messages are sent, and what came of them is recorded."""
