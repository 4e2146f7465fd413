"""Settings: the project, who is in it, and the signed-in user with their log-ins."""
