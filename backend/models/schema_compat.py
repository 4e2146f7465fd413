"""What the newest migration says of older code: one row, the oldest revision of code that can run
here.
"""

from __future__ import annotations

from sqlmodel import Field, SQLModel


class SchemaCompat(SQLModel, table=True):
    __tablename__ = "schema_compat"

    oldest_code: str = Field(primary_key=True, max_length=32)
