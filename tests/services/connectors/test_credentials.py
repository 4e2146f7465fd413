"""A stored secret is only ever sent where it was meant for."""

from __future__ import annotations

from typing import Any, Final

import pytest

from backend.errors import ValidationFailed
from backend.providers.frame.provider import Credentials
from backend.providers.frame.registry import (
    describe,
    destination_fields,
    get_provider,
    provider_types,
    sent_secrets,
)
from backend.services.connectors.credentials import merge_credentials
from tests.providers.fakes import CASES

# Fields that a change of leaves the secrets where they were; any other plain field asks for them
# again.
HARMLESS: Final = {
    "sandbox": set(),
    "smtp": {"fromAddress", "fromName"},
    "telegram": set(),
    "twilio": {"fromNumber", "messagingServiceSid"},
    "whatsapp": set(),
}
# Secrets that check what arrives here, and are sent to nobody.
NEVER_SENT: Final = {"telegram": {"webhookSecret"}, "whatsapp": {"appSecret", "verifyToken"}}
# Another valid value for each field that decides where secrets go.
ELSEWHERE: Final[dict[str, dict[str, Any]]] = {
    "smtp": {
        "host": "attacker.example",
        "port": 2525,
        "security": "starttls",
        "username": "eve@example.com",
    },
    "twilio": {"accountSid": "AC9876543210"},
    "whatsapp": {"phoneNumberId": "987654321", "businessAccountId": "5"},
}
SECRETS: Final = {"smtp": "password", "twilio": "authToken", "whatsapp": "accessToken"}
MOVES: Final = [(type_, name) for type_, fields in ELSEWHERE.items() for name in fields]


def stored(type_: str) -> dict[str, Any]:
    return dict(CASES[type_].credentials("mail.example.com", 587))


@pytest.mark.parametrize("type_", sorted(provider_types()))
def test_every_plain_field_is_declared_harmless_or_asks_for_the_secrets(type_: str) -> None:
    fields = describe(type_)["fields"]
    plain = {field["name"] for field in fields if field["type"] != "secret"}
    provider = get_provider(type_)
    assert plain - destination_fields(provider) == HARMLESS[type_]
    assert destination_fields(provider) == ELSEWHERE.get(type_, {}).keys()
    secrets = {field["name"] for field in fields if field["type"] == "secret"}
    assert secrets - sent_secrets(provider) == NEVER_SENT.get(type_, set())


def test_a_field_that_says_nothing_asks_for_the_secrets() -> None:
    class Silent(Credentials):
        webhook_url: str

    class Adapter(get_provider("sandbox")):  # type: ignore[misc]
        credentials_model = Silent

    assert destination_fields(Adapter) == {"webhookUrl"}


@pytest.mark.parametrize(("type_", "name"), MOVES)
def test_a_secret_does_not_follow_a_changed_destination(type_: str, name: str) -> None:
    moved = {name: ELSEWHERE[type_][name]}
    for changes in (moved, {**moved, SECRETS[type_]: ""}):
        with pytest.raises(ValidationFailed, match="again") as caught:
            merge_credentials(type_, stored(type_), changes)
        assert [(error.field, error.code) for error in caught.value.errors] == [
            (f"credentials.{SECRETS[type_]}", "SECRET_REQUIRED")
        ]
    again = {**moved, SECRETS[type_]: "entered-again"}
    merged = merge_credentials(type_, stored(type_), again).model_dump(by_alias=True)
    assert merged[SECRETS[type_]].get_secret_value() == "entered-again"


@pytest.mark.parametrize("type_", sorted(ELSEWHERE))
def test_a_form_that_sends_everything_unchanged_needs_no_secret(type_: str) -> None:
    secret = SECRETS[type_]
    sent = {name: str(value) for name, value in stored(type_).items()} | {secret: ""}
    merged = merge_credentials(type_, stored(type_), sent).model_dump(by_alias=True)
    assert merged[secret].get_secret_value() == stored(type_)[secret]


@pytest.mark.parametrize(
    ("type_", "changes"),
    [
        ("smtp", {"fromName": "Clinic", "fromAddress": "other@example.com"}),
        ("twilio", {"fromNumber": "+14155550199"}),
        (
            "smtp",
            {
                "host": "elsewhere.example",
                "username": None,
                "password": None,
                "fromAddress": "a@example.com",
            },
        ),
    ],
)
def test_other_changes_need_no_secret(type_: str, changes: dict[str, Any]) -> None:
    """No ValidationFailed asks to enter one again."""
    merge_credentials(type_, stored(type_), changes)


def test_what_was_stored_by_older_rules_is_still_protected() -> None:
    older = {**stored("smtp"), "host": "old..example"}
    with pytest.raises(ValidationFailed, match="Enter the password again: 'Host' changed"):
        merge_credentials("smtp", older, {"host": "attacker.example"})
