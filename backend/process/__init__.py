"""What any process is built of: group commit, caches, background tasks."""
