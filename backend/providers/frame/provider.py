"""What every provider declares and does: what it needs, what it can do, how a send ends.

A provider says everything about itself in one file; nothing else in the product names its type. It
imports no database, queue, settings or web framework: it gets credentials and a message, and
returns `Accepted` or raises a `SendError`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Final, Generic, Literal, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, SecretStr, model_validator
from pydantic.alias_generators import to_camel

from backend.providers.frame.callbacks import CallbackRequest, Receipt
from backend.providers.frame.errors import CallbackRefused, Rejected
from backend.providers.frame.http import PooledClient

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

    Secret fields are `SecretStr`. The dashboard's form and the API's check come from this model
    (title, description, examples and `json_schema_extra` of each field).

    A plain field says in `json_schema_extra={"destination": ...}` whether it decides where, or to
    whose account, the secrets are sent; the default is yes. When such a field changes, the secrets
    must be entered again, except those with `{"is_sent": False}`, which never leave this server.
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
        # A form sends every field; an empty field takes its default, or is reported as missing.
        if not isinstance(values, Mapping):
            return values
        return {name: value for name, value in values.items() if value is not None and value != ""}

    def secret_values(self) -> tuple[str, ...]:
        """Return the revealed secrets, so that they can be kept out of what is stored and shown."""
        values = (getattr(self, name) for name in type(self).model_fields)
        return tuple(value.get_secret_value() for value in values if isinstance(value, SecretStr))


CredentialsT = TypeVar("CredentialsT", bound=Credentials)
# Named here, because inside `Provider` the name `type` means the provider's type.
CredentialsModel = type[Credentials]


def _is_token(value: SecretStr) -> SecretStr:
    text = value.get_secret_value().strip()
    if not text:
        raise ValueError("must not be empty")
    if not (text.isascii() and text.isprintable()) or " " in text:
        raise ValueError("must be one line of ASCII characters without spaces; copy it again")
    return SecretStr(text)


def digest(*parts: str) -> str:
    """Return a short name for `parts` that reveals nothing about them."""
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:32]


# A secret that travels in a header or URL: if it could break out of either, it is refused before it
# is stored.
Token = Annotated[SecretStr, AfterValidator(_is_token)]


@dataclass(frozen=True, slots=True)
class ProviderTemplate:
    """A template that the provider stores (WhatsApp): its name, language and body parameters."""

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
    """The result of a credential check; `message` is for a person and names the account."""

    connected: bool
    message: str
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Pacing:
    """The most messages a second for the whole account, for one recipient and for one group.

    None: no limit.
    """

    per_second: float | None = None
    per_recipient_per_second: float | None = None
    # None: a group is paced like any other recipient.
    per_group_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Retry:
    """How often, how far apart and up to what age a message is tried again.

    None: the platform's setting.
    """

    max_attempts: int | None = None
    base_s: float | None = None
    cap_s: float | None = None
    max_age_s: float | None = None


@dataclass(frozen=True, slots=True)
class ProviderContext:
    """What the process lends to its providers: one pooled HTTP client and the admin's choices."""

    http: PooledClient
    # By type; a type that is missing uses its provider's `base_url`.
    base_urls: Mapping[str, str]
    timeout_s: float = 20.0
    allow_private_network: bool = False
    # This server's public address, and the address for this connector's callbacks, if any.
    public_url: str | None = None
    callback_url: str | None = None
    # Stores receipts that a provider makes itself (the sandbox), each until its `at`.
    report: Callable[[Sequence[Receipt]], Awaitable[None]] | None = None


class Provider(ABC, Generic[CredentialsT]):
    """A connector's adapter. Made once per connector and process, used concurrently."""

    # What it is called in the API and in the database; never changes.
    type: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    # A Lucide icon by its name, with underscores; the dashboard shows it beside connectors.
    icon: ClassVar[str] = "plug"
    # "sms", "email" or a channel of its own: decides which variant of a template it sends, and what
    # a request may name in "channels".
    channel: ClassVar[str]
    recipient_kind: ClassVar[RecipientKind]
    recipient_example: ClassVar[str]
    # Credential fields (JSON names) that tell a person who the sender is, the best first.
    sender_fields: ClassVar[tuple[str, ...]] = ()
    # Where its API is, unless the settings say otherwise; "" if a credential says where.
    base_url: ClassVar[str] = ""
    capabilities: ClassVar[frozenset[Capability]]
    pacing: ClassVar[Pacing] = Pacing()
    retry: ClassVar[Retry] = Retry()
    # Whether failures in a row pause the connector. False if recipients choose to fail (the
    # sandbox).
    has_circuit: ClassVar[bool] = True
    text_limit: ClassVar[int | None] = None
    # The media type of its callbacks. None: it doesn't send any.
    callback_type: ClassVar[str | None] = None
    # A sentence for the owner: where to enter the callback URL at the provider.
    callback_help: ClassVar[str] = ""
    # Whether its receipts name our message id, so that a receipt settles a send whose outcome is
    # unknown.
    receipts_carry_our_id: ClassVar[bool] = False
    # Whether `find_sent` can tell what happened to a send whose outcome is unknown.
    can_be_asked: ClassVar[bool] = False
    credentials_model: ClassVar[CredentialsModel]

    def __init__(self, credentials: CredentialsT, context: ProviderContext) -> None:
        self.credentials = credentials
        self.context = context
        # What `quote` hides in a provider's words; adapters add encoded forms of their secrets.
        self.hidden: tuple[str, ...] = credentials.secret_values()
        self.api_url = context.base_urls.get(self.type, self.base_url)

    @classmethod
    @abstractmethod
    def validate_recipient(cls, to: str) -> str:
        """Return the recipient in the channel's normal form; raises InvalidRecipient."""

    @abstractmethod
    async def validate(self) -> Health:
        """Check the credentials at the provider; raises Unauthorized, Unavailable or Throttled."""

    @abstractmethod
    async def send(self, message: OutboundMessage) -> Accepted:
        """Hand over a message; raises a SendError whose type decides what happens next."""

    def account_key(self) -> str | None:
        """Return a `digest` that names the account; connectors with the same one share its pace.

        It must include the account's secret, so that only those who know the secret can use up the
        account's pace. None: the connector has its pace to itself.
        """
        return None

    @classmethod
    def is_group(cls, to: str) -> bool:  # noqa: ARG003 (its name is the frame's)
        """Tell whether `to` (in normal form) is a group; some providers pace groups more slowly."""
        return False

    def answer_handshake(self, request: CallbackRequest) -> str:  # noqa: ARG002 (for adapters to override)
        """Return what the provider wants back when its callback URL is set (a GET).

        Raises CallbackRefused.
        """
        raise CallbackRefused(f"{self.title} doesn't use GET.")

    def verify_callback(self, request: CallbackRequest) -> None:  # noqa: ARG002 (for adapters to override)
        """Make sure that the provider sent this; raises CallbackRefused."""
        raise CallbackRefused(f"{self.title} doesn't send callbacks.")

    def parse_callback(self, request: CallbackRequest) -> list[Receipt]:  # noqa: ARG002 (for adapters to override)
        """Return the receipts of a verified callback.

        An item that cannot be read or has an unknown status is logged and left out; the others
        count.
        """
        return []

    async def find_sent(self, message: OutboundMessage) -> Accepted | None:  # noqa: ARG002 (for adapters to override)
        """Ask the provider whether it took a message; None: it didn't. Needs `can_be_asked`.

        The answer may be about a twin (same recipient and text, sent at the same time): the caller
        checks that no other message has the id. Raises a SendError if the provider cannot say.
        """
        return None

    async def aclose(self) -> None:
        """Close what this instance holds open; the shared HTTP client isn't its to close."""
        return

    def check_text(self, message: OutboundMessage) -> str:
        """Return the text if the channel can take it; raises Rejected before anything is sent."""
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
        """Return a provider's words ready to store: short, without secrets or the `text`."""
        cleaned = str(words)
        for secret in self.hidden:
            if secret:
                cleaned = cleaned.replace(secret, "[hidden]")
        if text.strip():
            cleaned = cleaned.replace(text, "[text]")
        return cleaned if len(cleaned) <= _QUOTE_LIMIT else cleaned[:_QUOTE_LIMIT] + "..."
