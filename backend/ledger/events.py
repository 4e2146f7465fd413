"""The event of a state change: the one place that writes `events`.

Every statement that changes a message's state ends in, or contains, what `insert_events` returns;
whatever listens to events hangs here.
"""

from __future__ import annotations


def insert_events(select: str) -> str:
    """Return the INSERT for the events that `select` yields.

    `select` gives id, project_id, message_id, type, data and created_at, in this order, from the
    rows that the same statement has changed.
    """
    return f"""
    INSERT INTO events (id, project_id, message_id, type, data, created_at)
    {select}"""
