"""Messages that were given up although another try may help.

What happened to each is in its own row.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import Index
from sqlmodel import Field, SQLModel


class DeadLetter(SQLModel, table=True):
    """Gone once it is redriven or discarded.

    A late receipt of delivery leaves it: only `failed` messages are dead.
    """

    __tablename__ = "dead_letters"
    __table_args__ = (Index("ix_dead_letters_project", "project_id", "message_id"),)

    message_id: UUID = Field(primary_key=True)
    project_id: UUID
