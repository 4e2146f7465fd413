"""A project's accounts at providers: kept, checked, opened."""
