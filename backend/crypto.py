"""Secrets at rest and in headers: AES-256-GCM for credentials, HMAC-SHA-256 for keys and tokens."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12
_BASE62: Final = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class DecryptionFailed(Exception):
    """The ciphertext was written with another key, or was changed."""


class Vault:
    """Encrypts credentials with one current key and decrypts with any key it knows.

    A ciphertext is `v1.<key id>.<base64url(nonce + ciphertext + tag)>`; the key id is the first
    8 hex digits of SHA-256 of the key, so a rotated key is found without configuration. The
    `context` (the row's id) is authenticated: a ciphertext copied to another row does not open.
    """

    def __init__(self, current_key_hex: str, *previous_keys_hex: str) -> None:
        self._ciphers: dict[str, AESGCM] = {}
        self._current_id = self._add(current_key_hex)
        for key_hex in previous_keys_hex:
            self._add(key_hex)

    def _add(self, key_hex: str) -> str:
        try:
            key = bytes.fromhex(key_hex.strip())
        except ValueError as exc:
            raise ValueError(
                "ENCRYPTION_KEY is not hexadecimal; make one with 'openssl rand -hex 32'"
            ) from exc
        if len(key) != 32:
            raise ValueError(
                f"ENCRYPTION_KEY has {len(key)} bytes, it needs 32; make one with 'openssl rand"
                " -hex 32'"
            )
        key_id = hashlib.sha256(key).hexdigest()[:8]
        self._ciphers[key_id] = AESGCM(key)
        return key_id

    @property
    def current_key_id(self) -> str:
        return self._current_id

    @property
    def key_ids(self) -> frozenset[str]:
        """The ids of all keys that it can decrypt with."""
        return frozenset(self._ciphers)

    def encrypt(self, plaintext: str, *, context: str) -> str:
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._ciphers[self._current_id].encrypt(
            nonce, plaintext.encode(), context.encode()
        )
        return f"v1.{self._current_id}.{base64.urlsafe_b64encode(nonce + sealed).decode()}"

    def decrypt(self, ciphertext: str, *, context: str) -> str:
        """Return the plaintext; raises DecryptionFailed when no known key opens it."""
        version, _, rest = ciphertext.partition(".")
        key_id, _, encoded = rest.partition(".")
        cipher = self._ciphers.get(key_id)
        if version != "v1" or cipher is None:
            raise DecryptionFailed(
                f"No encryption key with id '{key_id}'; add the old key to ENCRYPTION_KEY_PREVIOUS."
            )
        try:
            raw = base64.urlsafe_b64decode(encoded)
            return cipher.decrypt(raw[:_NONCE_BYTES], raw[_NONCE_BYTES:], context.encode()).decode()
        except (InvalidTag, ValueError) as exc:  # ValueError: truncated, or not base64
            raise DecryptionFailed("The ciphertext was changed or belongs to another row.") from exc


def random_token(characters: int = 32) -> str:
    """Return `characters` of base62 from the system's CSPRNG (5.95 bits each)."""
    return "".join(secrets.choice(_BASE62) for _ in range(characters))


def keyed_hash(pepper: str, token: str) -> bytes:
    """Return HMAC-SHA-256 (32 bytes) of a high-entropy token: what the database stores."""
    return hmac.digest(pepper.encode(), token.encode(), "sha256")
