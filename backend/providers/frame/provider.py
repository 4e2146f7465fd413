"""The frame every provider fills: what it needs, what it can, and the one way a send ends.

A provider is one file. It imports no database, queue, settings or web framework: it gets
credentials and a message, and returns `Accepted` or raises a `SendError`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar

import httpx
from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, model_validator
from pydantic.alias_generators import to_camel

from backend.providers.frame.callbacks import CallbackRequest, Receipt
from backend.providers.frame.errors import CallbackRefused, Rejected

_QUOTE_LIMIT: Final = 300


class Capability(StrEnum):
    TEXT = "text"
    IMAGE = "image"
    DOCUMENT = "document"
    AUDIO = "audio"
    VIDEO = "video"
    LOCATION = "location"
    TEMPLATE = "template"
    VOICE = "voice"
    INBOUND = "inbound"
    RECEIPTS = "receipts"
    READ_RECEIPTS = "read_receipts"


RecipientKind = Literal["phone", "email", "chat", "channel", "any"]


class Credentials(BaseModel):
    """Base of every provider's credentials: camelCase in JSON, unknown fields refused.

    Fields that are secret are `SecretStr`; the dashboard's form and the API's check are made from
    this model (title, description, examples and `json_schema_extra` of each field).

    A plain field says in `json_schema_extra={"destination": ...}` whether it decides where, or to
    whose account, the secrets are sent: when such a field changes, they must be entered again. One
    that says nothing does. A secret that never leaves this server says `{"is_sent": False}`, and
    stays.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        validate_by_name=True,
        validate_by_alias=True,
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
    )

    @model_validator(mode="before")
    @classmethod
    def _empty_is_left_out(cls, values: Any) -> Any:
        # A form sends every field; an empty one takes its default, or is reported as missing.
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value is not None and value != ""}

    def secret_values(self) -> tuple[str, ...]:
        """Return the revealed secrets, for keeping them out of what is stored and shown."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))


CredentialsT = TypeVar("CredentialsT", bound=Credentials)
# Named out here, because inside `Provider` the name `type` is the provider's own.
CredentialsModel = type[Credentials]


def _is_token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not text:
        raise ValueError("must not be empty")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must be one line of ASCII characters without spaces; copy it again")
    return SecretStr(text)


def digest(*parts: str) -> str:
    """Return a short name for `parts` that tells nothing of them."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


# A secret that travels in a header or URL: what could break out of either is refused when it is
# stored.
Token = Annotated[SecretStr, AfterValidator(_is_token)]


@dataclass(frozen=True, slots=True)
class ProviderTemplate:
    """A template that lives at the provider (WhatsApp): its name, language and body parameters."""

    name: str
    language: str
    parameters: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class OutboundMessage:
    """One message as a provider sees it: rendered, with nothing left to decide."""

    id: str  # our TypeID, "msg_..."; safe to show to the provider
    to: str
    text: str
    subject: str | None = None
    html: str | None = None
    template: ProviderTemplate | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """The provider took the message.

    `delivered` only where acceptance is delivery (the sandbox).
    """

    provider_message_id: str | None
    status: Literal["sent", "delivered"] = "sent"
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Health:
    """What a credential check found: `message` says it to a person, naming the account."""

    connected: bool
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pacing:
    """Most messages a second: by the whole account, to one recipient, and to one group.

    None: unpaced.
    """

    per_second: float | None = None
    per_recipient_per_second: float | None = None
    # None: a group is paced like any recipient.
    per_group_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, how long apart and until what age a message is tried again.

    None: the platform's setting.
    """

    max_attempts: int | None = None
    base_s: float | None = None
    cap_s: float | None = None
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What the process lends to its providers: one pooled HTTP client and the admin's choices."""

    http: httpx.AsyncClient
    base_urls: Mapping[str, str]
    timeout_s: float = 20.0
    allow_private_network: bool = False
    # This server's address on the internet, and the one for this connector's callbacks. None: it
    # has none.
    public_url: str | None = None
    callback_url: str | None = None
    # Keeps receipts that a provider makes itself (the sandbox), each until its `at`.
    report: Callable[[Sequence[Receipt]], Awaitable[None]] | None = None


class Provider(ABC, Generic[CredentialsT]):
    """One connector's adapter. Made once per connector and process, used concurrently."""

    type: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    # What it sends by, as templates and routes name it. "": a channel named like the type.
    channel: ClassVar[str] = ""
    # What it looks like in lists: a name of Lucide's.
    icon: ClassVar[str] = "plug"
    # The credentials (camelCase) that say who sends, the one that says most first; without any, the
    # words for it.
    sender_fields: ClassVar[tuple[str, ...]] = ()
    sender: ClassVar[str] = ""
    # Where its API is, unless the settings say otherwise.
    default_url: ClassVar[str] = ""
    # It comes with the server, reaches nobody, and plays any other type.
    is_built_in: ClassVar[bool] = False
    recipient_kind: ClassVar[RecipientKind]
    recipient_example: ClassVar[str]
    capabilities: ClassVar[frozenset[Capability]]
    pacing: ClassVar[Pacing] = Pacing()
    retry: ClassVar[Retry] = Retry()
    # Whether failures in a row pause the connector; not where recipients choose to fail (the
    # sandbox).
    has_circuit: ClassVar[bool] = True
    text_limit: ClassVar[int | None] = None
    # The media type of its callbacks. None: it sends none.
    callback_type: ClassVar[str | None] = None
    # One sentence for the owner: where the callback's URL is entered at the provider.
    callback_help: ClassVar[str] = ""
    # Whether its receipts name our own id, so that one of them settles a send whose outcome is
    # unknown.
    receipts_carry_our_id: ClassVar[bool] = False
    # Whether `find_sent` can tell what became of a send whose outcome is unknown.
    can_be_asked: ClassVar[bool] = False
    credentials_model: ClassVar[CredentialsModel]

    def __init__(self, credentials: CredentialsT, context: ProviderContext) -> None:
        self.credentials = credentials
        self.context = context
        # Everything a provider's words must be cleared of; adapters add encoded forms of their
        # secrets.
        self.hidden: tuple[str, ...] = credentials.secret_values()

    @property
    def base_url(self) -> str:
        """Where the API is: as the settings say, else by default."""
        return self.context.base_urls.get(self.type, self.default_url)

    @classmethod
    @abstractmethod
    def validate_recipient(cls, to: str) -> str:
        """Return the recipient in this channel's normal form; raises InvalidRecipient."""

    @abstractmethod
    async def validate(self) -> Health:
        """Check the credentials at the provider; raises Unauthorized, Unavailable or Throttled."""

    @abstractmethod
    async def send(self, message: OutboundMessage) -> Accepted:
        """Hand one message over; raises a SendError whose type decides what happens next."""

    def account_key(self) -> str | None:
        """Return what connectors of one account share, made by `digest`; they share its pace.

        None: nothing.

        It must take the account's secret in: nobody who lacks it may use up the account's pace.
        """
        return None

    @classmethod
    def is_group(cls, to: str) -> bool:  # noqa: ARG003 (for adapters to override)
        """Whether `to` (in normal form) is a group, which some providers pace more slowly."""
        return False

    def answer_handshake(self, request: CallbackRequest) -> str:  # noqa: ARG002 (for adapters to override)
        """Return what the provider wants back when its callback is set (a GET); raises
        CallbackRefused.
        """
        raise CallbackRefused(f"{self.title} asks nothing by GET.")

    def verify_callback(self, request: CallbackRequest) -> None:  # noqa: ARG002 (for adapters to override)
        """Make sure that the provider sent this; raises CallbackRefused."""
        raise CallbackRefused(f"{self.title} sends no callbacks.")

    def parse_callback(self, request: CallbackRequest) -> list[Receipt]:  # noqa: ARG002 (for adapters to override)
        """Return the receipts of a verified callback.

        An item that cannot be read, or whose status is unknown, is logged and left out: the others
        count.
        """
        return []

    async def find_sent(self, message: OutboundMessage) -> Accepted | None:  # noqa: ARG002 (for adapters to override)
        """Ask the provider whether it took a message; None: it did not. Only where `can_be_asked`.

        What it names may be a twin (same recipient and text, sent at the same time): the caller
        makes sure that no other message has the id. Raises a SendError when the provider cannot
        say.
        """
        return None

    async def aclose(self) -> None:
        """Give back what this instance holds open beside the shared HTTP client."""
        return

    def check_text(self, message: OutboundMessage) -> str:
        """Return the text when the channel can take it; raises Rejected before anything is sent."""
        length = len(message.text)
        if not message.text.strip():
            raise Rejected(f"The text is empty; {self.title} needs one.", code="text_empty")
        if self.text_limit is not None and length > self.text_limit:
            raise Rejected(
                f"The text has {length} characters; {self.title} takes at most {self.text_limit}.",
                code="text_too_long",
            )
        return message.text

    def quote(self, words: object, text: str = "") -> str:
        """Return a provider's words as they may be stored: bounded, without secrets or the
        message's `text`.
        """
        cleaned = str(words)
        for secret in self.hidden:
            if secret:
                cleaned = cleaned.replace(secret, "[hidden]")
        if text.strip():
            cleaned = cleaned.replace(text, "[text]")
        return cleaned if len(cleaned) <= _QUOTE_LIMIT else cleaned[:_QUOTE_LIMIT] + "..."
