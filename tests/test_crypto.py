"""Secrets at rest open with their key, for their row, unchanged; and with nothing else."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets

import pytest

from backend.crypto import DecryptionFailed, Vault, keyed_hash, random_token

OLD, NEW = secrets.token_hex(32), secrets.token_hex(32)


def test_what_was_encrypted_is_read_back() -> None:
    vault = Vault(NEW)
    for plaintext in ("", "a", '{"botToken": "123:abc"}', "Grüße 👋", "x" * 100_000):
        assert (
            vault.decrypt(vault.encrypt(plaintext, context="conn_1"), context="conn_1") == plaintext
        )


def test_the_ciphertext_shows_nothing_and_never_repeats() -> None:
    vault = Vault(NEW)
    first, second = (vault.encrypt("123456:secret-token", context="c") for _ in range(2))
    assert first != second
    raw = base64.urlsafe_b64decode(first.rpartition(".")[2])
    assert b"secret" not in raw
    # 12 bytes of nonce, 19 of text, 16 of tag.
    assert len(raw) == 12 + 19 + 16


def test_a_ciphertext_copied_to_another_row_does_not_open() -> None:
    vault = Vault(NEW)
    sealed = vault.encrypt("token", context="conn_mine")
    with pytest.raises(DecryptionFailed, match="another row"):
        vault.decrypt(sealed, context="conn_yours")


def test_after_a_rotation_old_rows_open_and_new_ones_use_the_new_key() -> None:
    before = Vault(OLD)
    sealed = before.encrypt("token", context="c")
    after = Vault(NEW, OLD)
    assert after.decrypt(sealed, context="c") == "token"
    again = after.encrypt("token", context="c")
    assert again.split(".")[1] == after.current_key_id != before.current_key_id
    assert Vault(NEW).decrypt(again, context="c") == "token"


def test_a_key_that_was_dropped_is_named_with_the_remedy() -> None:
    sealed = Vault(OLD).encrypt("token", context="c")
    with pytest.raises(
        DecryptionFailed, match=rf"'{Vault(OLD).current_key_id}'; .*ENCRYPTION_KEY_PREVIOUS"
    ):
        Vault(NEW).decrypt(sealed, context="c")


@pytest.mark.parametrize("place", [0, 11, 12, 20, -17, -16, -1])
def test_a_changed_byte_is_noticed(place: int) -> None:
    vault = Vault(NEW)
    head, _, encoded = vault.encrypt("0123456789", context="c").rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(encoded))
    raw[place] ^= 1
    with pytest.raises(DecryptionFailed):
        vault.decrypt(f"{head}.{base64.urlsafe_b64encode(raw).decode()}", context="c")


@pytest.mark.parametrize("text", ["", "plain", "v1", "v1.", "v2.{key}.AAAA", "v1.00000000.AAAA"])
def test_what_is_no_ciphertext_of_ours_is_refused(text: str) -> None:
    vault = Vault(NEW)
    with pytest.raises(DecryptionFailed):
        vault.decrypt(text.format(key=vault.current_key_id), context="c")


@pytest.mark.parametrize("tail", ["", "AAAA", "A", "not base64 at all!", "ümlaut"])
def test_a_cut_off_ciphertext_is_refused_as_such(tail: str) -> None:
    vault = Vault(NEW)
    with pytest.raises(DecryptionFailed):
        vault.decrypt(f"v1.{vault.current_key_id}.{tail}", context="c")


@pytest.mark.parametrize(
    ("key", "complaint"),
    [
        ("x" * 64, "not hexadecimal"),
        ("ab" * 16, "has 16 bytes, it needs 32"),
        ("ab" * 33, "has 33 bytes, it needs 32"),
        ("", "has 0 bytes, it needs 32"),
        ("abc", "not hexadecimal"),
    ],
)
def test_a_key_of_the_wrong_form_is_refused_with_the_command_that_makes_one(
    key: str, complaint: str
) -> None:
    with pytest.raises(ValueError, match=f"{complaint}.*openssl rand -hex 32"):
        Vault(key)


def test_a_wrong_previous_key_is_refused_too() -> None:
    with pytest.raises(ValueError, match="has 1 bytes"):
        Vault(NEW, "ab")


def test_a_vault_does_not_show_its_keys() -> None:
    assert NEW not in repr(Vault(NEW))


def test_tokens_are_base62_of_the_asked_length_and_never_the_same() -> None:
    tokens = {random_token(24) for _ in range(1000)}
    assert len(tokens) == 1000
    assert all(len(token) == 24 and token.isascii() and token.isalnum() for token in tokens)
    # 24,000 characters of 62: each misses with a probability of about 1e-167.
    assert len(set("".join(tokens))) == 62


def test_a_keyed_hash_is_hmac_sha256_and_depends_on_the_pepper() -> None:
    assert (
        keyed_hash("pepper", "sk_live_x")
        == hmac.new(b"pepper", b"sk_live_x", hashlib.sha256).digest()
    )
    assert keyed_hash("pepper", "sk_live_x") != keyed_hash("salt", "sk_live_x")
    assert len(keyed_hash("pepper", "sk_live_x")) == 32
