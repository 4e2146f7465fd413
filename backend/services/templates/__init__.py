"""A template and its variables become what a channel sends."""
