"""Routing: which connectors a message may go through, in which order; saved routes."""
