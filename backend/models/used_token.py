"""Send tokens that were used up; written in the accept transaction, kept until they have expired
for certain.
"""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp


class UsedToken(SQLModel, table=True):
    __tablename__ = "used_tokens"

    project_id: UUID = Field(primary_key=True)
    jti: str = Field(primary_key=True, max_length=64)
    message_id: UUID
    expires_at: datetime = Field(sa_type=Timestamp, index=True)
