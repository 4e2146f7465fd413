"""What signs and encrypts.

Generated into the data directory by `messagejs up` when it runs the embedded servers.
"""

from __future__ import annotations

from pydantic import Field, SecretStr, field_validator

from backend.settings.base import Base, required


class SecretSettings(Base):
    jwt_secret: SecretStr | None = Field(
        None, description="Signs access tokens; at least 32 characters"
    )
    encryption_key: SecretStr | None = Field(
        None, description="64 hex digits; encrypts connector credentials"
    )
    encryption_key_previous: SecretStr | None = Field(
        None, description="Old keys, comma-separated, that still decrypt"
    )
    key_pepper: SecretStr | None = Field(
        None, description="Keys the hash of API keys; at least 32 characters"
    )

    @field_validator("jwt_secret", "key_pepper")
    @classmethod
    def _long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and len(value.get_secret_value()) < 32:
            raise ValueError("needs at least 32 characters; make one with 'openssl rand -hex 32'")
        return value

    @field_validator("encryption_key")
    @classmethod
    def _is_aes_256_key(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not _is_key(value.get_secret_value()):
            raise ValueError("needs 64 hexadecimal digits; make them with 'openssl rand -hex 32'")
        return value

    @field_validator("encryption_key_previous")
    @classmethod
    def _are_aes_256_keys(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not all(_is_key(key) for key in _parts(value.get_secret_value())):
            raise ValueError(
                "needs old values of ENCRYPTION_KEY, each 64 hexadecimal digits, separated by"
                " commas"
            )
        return value

    def require_jwt_secret(self) -> str:
        return required(self.jwt_secret, "JWT_SECRET", "the output of 'openssl rand -hex 32'")

    def require_key_pepper(self) -> str:
        return required(self.key_pepper, "KEY_PEPPER", "the output of 'openssl rand -hex 32'")

    def encryption_keys(self) -> tuple[str, ...]:
        """The current key first, then the old ones, each as 64 hex digits."""
        current = required(
            self.encryption_key, "ENCRYPTION_KEY", "the output of 'openssl rand -hex 32'"
        )
        previous = (
            self.encryption_key_previous.get_secret_value() if self.encryption_key_previous else ""
        )
        return (current, *_parts(previous))


def _is_key(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
