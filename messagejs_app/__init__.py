"""The dashboard: shows, never decides."""
