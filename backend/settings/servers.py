"""The servers that everything runs on.

Empty: `messagejs up` starts embedded ones in the data directory.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator

from backend import server_urls
from backend.settings.base import Base, required


class ServerSettings(Base):
    database_url: SecretStr | None = Field(
        None, description="Postgres: postgresql://user:pass@host:5432/messagejs"
    )
    database_pool_size: int = Field(
        20, ge=2, le=200, description="Postgres connections a process opens at most"
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis or Valkey, e.g. redis://host:6379/0"
    )
    redis_password: SecretStr | None = Field(
        None, description="Password for REDIS_URL, if the URL has none"
    )
    data_dir: Path = Field(
        Path(".messagejs"),
        validation_alias=AliasChoices("MESSAGEJS_DATA_DIR", "data_dir"),
        description="Where the embedded servers and generated secrets live",
    )

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            server_urls.check_postgres_url(value.get_secret_value())
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            server_urls.check_redis_url(value.get_secret_value())
        return value

    def require_database_url(self) -> str:
        return required(
            self.database_url, "DATABASE_URL", "postgresql://user:password@host:5432/messagejs"
        )

    def require_redis_url(self) -> str:
        """The URL, with REDIS_PASSWORD filled in if it has no password."""
        url = required(self.redis_url, "REDIS_URL", "redis://host:6379/0")
        parts = urlsplit(url)
        if self.redis_password is None or parts.password is not None:
            return url
        password = quote(self.redis_password.get_secret_value(), safe="")
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{password}@{host}"))
