"""Lists of a project's things: one page of them, and what narrows it."""
