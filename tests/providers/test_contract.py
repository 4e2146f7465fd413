"""What every provider promises, ours and third parties'.

Being registered is enough to be tested.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Callable
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, SecretStr, ValidationError

from backend.providers.frame.errors import (
    InvalidRecipient,
    OutcomeUnknown,
    Rejected,
    SendError,
    Throttled,
    Unauthorized,
    Unavailable,
)
from backend.providers.frame.provider import OutboundMessage, Provider
from backend.providers.frame.registry import (
    _plain_type,
    credentials_to_json,
    describe,
    frame_problem,
    get_provider,
    parse_credentials,
    provider_types,
)
from tests.providers.conftest import MakeProvider
from tests.providers.fakes import CASES, Case, Fault, refused_port

TYPES = sorted(provider_types())
SECRET_WORDS = ("token", "secret", "password", "key")
NOT_SECRET = {"public_key", "api_key"}  # Discord's and Exotel's, according to their documents
FIELD_KEYS = {"name", "label", "type", "required", "default", "placeholder", "help", "options"}
TEXT = "The boat leaves at nine, bring a warm coat."

Message = Callable[..., OutboundMessage]


def case_of(provider_type: str) -> Case:
    assert provider_type in CASES, (
        f"add '{provider_type}' to CASES in tests/providers/fakes/_cases.py"
    )
    return CASES[provider_type]


def networked(provider_type: str) -> Case:
    case = case_of(provider_type)
    if case.fault_server is None:
        pytest.skip("uses no network")
    return case


async def outcome(provider: Provider[Any], message: OutboundMessage) -> SendError:
    with pytest.raises(SendError) as caught:
        await provider.send(message)
    return caught.value


def outbound(provider: Provider[Any], message: Message) -> OutboundMessage:
    return message(to=provider.validate_recipient(provider.recipient_example), text=TEXT)


@pytest.mark.parametrize("provider_type", TYPES)
def test_every_attribute_is_declared(provider_type: str) -> None:
    assert frame_problem(get_provider(provider_type)) is None
    assert get_provider(provider_type).type == provider_type


@pytest.mark.parametrize("provider_type", TYPES)
def test_no_secret_is_kept_as_plain_text(provider_type: str) -> None:
    for name, info in get_provider(provider_type).credentials_model.model_fields.items():
        if name not in NOT_SECRET and any(word in name for word in SECRET_WORDS):
            assert _plain_type(info.annotation) is SecretStr, f"{name} must be a SecretStr"


@pytest.mark.parametrize("provider_type", TYPES)
def test_credentials_survive_storage_and_hide_their_secrets(provider_type: str) -> None:
    credentials = parse_credentials(
        provider_type, case_of(provider_type).credentials("mail.example.com", 25)
    )
    stored = credentials_to_json(credentials)
    assert parse_credentials(provider_type, orjson.loads(stored)) == credentials
    for secret in credentials.secret_values():
        assert secret in stored
        assert secret not in repr(credentials)


@pytest.mark.parametrize("provider_type", TYPES)
def test_an_unknown_credential_field_is_refused(provider_type: str) -> None:
    values = {**case_of(provider_type).credentials("mail.example.com", 25), "colour": "blue"}
    with pytest.raises(ValidationError, match="colour"):
        parse_credentials(provider_type, values)


@pytest.mark.parametrize("provider_type", TYPES)
def test_the_description_matches_the_credentials(provider_type: str) -> None:
    described = describe(provider_type)
    assert orjson.loads(orjson.dumps(described)) == described
    model: type[BaseModel] = get_provider(provider_type).credentials_model
    by_name = {field["name"]: field for field in described["fields"]}
    assert set(by_name) == {info.alias for info in model.model_fields.values()}
    for info in model.model_fields.values():
        field = by_name[info.alias]
        assert set(field) == FIELD_KEYS
        assert field["type"] in {"text", "secret", "number", "select", "boolean"}
        assert (field["type"] == "secret") == (_plain_type(info.annotation) is SecretStr)
        assert field["required"] == info.is_required()
        assert field["label"]
        assert bool(field["options"]) == (field["type"] == "select")
        if field["type"] == "secret":
            assert field["default"] is None


@pytest.mark.parametrize("provider_type", TYPES)
def test_a_form_may_send_its_empty_fields(provider_type: str) -> None:
    values = case_of(provider_type).credentials("mail.example.com", 25)
    form = {field["name"]: "" for field in describe(provider_type)["fields"]}
    parse_credentials(provider_type, {**form, **values})


@pytest.mark.parametrize("provider_type", TYPES)
def test_the_recipient_example_is_valid_and_normal(provider_type: str) -> None:
    provider = get_provider(provider_type)
    normal = provider.validate_recipient(provider.recipient_example)
    assert provider.validate_recipient(f" {normal} ") == normal


@pytest.mark.parametrize(
    ("provider_type", "to"),
    [(type_, to) for type_ in TYPES for to in (CASES[type_].nonsense if type_ in CASES else ())],
)
def test_a_recipient_that_cannot_exist_is_refused(provider_type: str, to: str) -> None:
    with pytest.raises(InvalidRecipient):
        get_provider(provider_type).validate_recipient(to)


@pytest.mark.parametrize("provider_type", TYPES)
async def test_a_refused_connection_is_safe_to_repeat(
    provider_type: str, make_provider: MakeProvider, message: Message
) -> None:
    case, port = networked(provider_type), refused_port()
    provider = make_provider(
        provider_type, case.credentials("127.0.0.1", port), case.base_url("127.0.0.1", port)
    )
    error = await outcome(provider, outbound(provider, message))
    assert type(error) is Unavailable
    with pytest.raises(Unavailable):
        await provider.validate()


@pytest.mark.parametrize("provider_type", TYPES)
async def test_a_host_without_an_address_is_safe_to_repeat(
    provider_type: str, make_provider: MakeProvider, message: Message
) -> None:
    case, host = networked(provider_type), "no-such-host.invalid"
    provider = make_provider(provider_type, case.credentials(host, 80), case.base_url(host, 80))
    assert type(await outcome(provider, outbound(provider, message))) is Unavailable


@pytest.mark.parametrize("fault", ["read_then_reset", "garbage"])
@pytest.mark.parametrize("provider_type", TYPES)
async def test_a_break_after_the_body_was_read_is_uncertain(
    provider_type: str, fault: Fault, make_provider: MakeProvider, message: Message
) -> None:
    case = networked(provider_type)
    assert case.fault_server is not None
    async with case.fault_server(fault) as server:
        provider = make_provider(
            provider_type,
            case.credentials(server.host, server.port),
            case.base_url(server.host, server.port),
        )
        assert type(await outcome(provider, outbound(provider, message))) is OutcomeUnknown
        # It was not repeated behind our back.
        assert server.connections == 1


@pytest.mark.parametrize("fault", ["hang", "drip"])
@pytest.mark.parametrize("provider_type", TYPES)
async def test_an_answer_that_never_ends_is_uncertain_within_the_deadline(
    provider_type: str, fault: Fault, make_provider: MakeProvider, message: Message
) -> None:
    case = networked(provider_type)
    assert case.fault_server is not None
    async with case.fault_server(fault) as server:
        provider = make_provider(
            provider_type,
            case.credentials(server.host, server.port),
            case.base_url(server.host, server.port),
            timeout_s=0.4,
        )
        async with asyncio.timeout(30):  # the server would go on for half an hour and more
            assert type(await outcome(provider, outbound(provider, message))) is OutcomeUnknown


@pytest.mark.parametrize("provider_type", TYPES)
async def test_a_bare_500_is_uncertain_and_a_bare_429_throttles(
    provider_type: str, make_provider: MakeProvider, message: Message
) -> None:
    case = networked(provider_type)
    assert case.fault_server is not None
    for fault, expected in (("500", OutcomeUnknown), ("429", Throttled)):
        if fault in case.unlike_http:
            continue
        async with case.fault_server(fault) as server:  # type: ignore[arg-type]  # literals of a tuple
            provider = make_provider(
                provider_type,
                case.credentials(server.host, server.port),
                case.base_url(server.host, server.port),
            )
            assert type(await outcome(provider, outbound(provider, message))) is expected


@pytest.mark.parametrize(
    "fault", ["echo", "read_then_reset", "accept_then_reset", "hang", "garbage", "500"]
)
@pytest.mark.parametrize("provider_type", TYPES)
async def test_no_error_shows_a_secret_or_the_text(
    provider_type: str,
    fault: Fault,
    make_provider: MakeProvider,
    message: Message,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The echoing server repeats the whole request, headers included, as its error message."""
    case = networked(provider_type)
    assert case.fault_server is not None
    caplog.set_level(logging.DEBUG)
    async with case.fault_server(fault) as server:
        provider = make_provider(
            provider_type,
            case.credentials(server.host, server.port),
            case.base_url(server.host, server.port),
            timeout_s=0.5,
        )
        errors = [await outcome(provider, outbound(provider, message))]
        try:
            await provider.validate()
        except SendError as exc:
            errors.append(exc)
    # asyncio's own debug log is the event loop's, and names sockets only.
    shown = (
        "".join(
            "".join(traceback.format_exception(error)) + repr(error.answer) + error.reason
            for error in errors
        )
        + caplog.text
    )
    for secret in provider.hidden:
        assert secret not in shown
    assert TEXT not in shown


@pytest.mark.parametrize("provider_type", TYPES)
async def test_a_check_of_broken_credentials_says_so_or_that_it_could_not_ask(
    provider_type: str, make_provider: MakeProvider
) -> None:
    case = networked(provider_type)
    assert case.fault_server is not None
    for fault in ("echo", "read_then_reset", "hang", "garbage", "500", "429", "accept_then_reset"):
        async with case.fault_server(fault) as server:
            provider = make_provider(
                provider_type,
                case.credentials(server.host, server.port),
                case.base_url(server.host, server.port),
                timeout_s=0.4,
            )
            try:
                health = await provider.validate()
            except (Unauthorized, Unavailable):
                continue
            assert health.connected


@pytest.mark.parametrize("provider_type", TYPES)
async def test_a_text_over_the_limit_is_refused_before_anything_is_sent(
    provider_type: str, make_provider: MakeProvider, message: Message
) -> None:
    case, port = case_of(provider_type), refused_port()
    provider = make_provider(
        provider_type, case.credentials("127.0.0.1", port), case.base_url("127.0.0.1", port)
    )
    if provider.text_limit is None:
        pytest.skip("has no limit")
    to = provider.validate_recipient(provider.recipient_example)
    assert (
        type(await outcome(provider, message(to=to, text="x" * (provider.text_limit + 1))))
        is Rejected
    )
