"""Fingerprints of the secrets that stored rows depend on: which ENCRYPTION_KEY, which
KEY_PEPPER.
"""

from __future__ import annotations

from datetime import datetime

from sqlmodel import Field, SQLModel

from backend.models.base import Timestamp


class SecretFingerprint(SQLModel, table=True):
    __tablename__ = "secret_fingerprints"

    name: str = Field(primary_key=True, max_length=40)
    fingerprint: str = Field(max_length=32)
    written_at: datetime = Field(sa_type=Timestamp)
