"""Step 4: a template and its variables become what a channel sends."""
