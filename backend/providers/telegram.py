"""Telegram Bot API: text by sendMessage. The token is part of the URL, so no URL may be shown.

There are no delivery receipts: `sent` is final.
Source: https://core.telegram.org/bots/api#sendmessage and #responseparameters
"""

from __future__ import annotations

import re
import time
from functools import partial
from typing import Any, Final

import orjson
from pydantic import Field, SecretStr, field_validator

from backend.crypto import random_token
from backend.providers.frame import (
    JSON_HEADERS,
    Accepted,
    Answer,
    Capability,
    Credentials,
    Endpoint,
    ErrorTable,
    Health,
    InvalidRecipient,
    OutboundMessage,
    OutcomeUnknown,
    Pacing,
    Provider,
    ProviderContext,
    Rejected,
    SendError,
    Throttled,
    Token,
    Unauthorized,
    Unavailable,
    credential_check,
    digest,
    refusal,
)

_TOKEN: Final = re.compile(r"[0-9]+:[A-Za-z0-9_.-]+")
_WEBHOOK_SECRET: Final = re.compile(r"[A-Za-z0-9_-]{1,256}")
_CHAT_ID: Final = re.compile(r"-?[1-9][0-9]{0,18}")
_USERNAME: Final = re.compile(r"@[A-Za-z][A-Za-z0-9_]{3,31}")

# By `error_code`. 500, 502 and 504 may come after the work and stay uncertain.
_ERRORS: Final[ErrorTable] = {
    400: Rejected,
    401: Unauthorized,
    403: partial(Rejected, suppress=True),  # blocked, deactivated, kicked, can't initiate
    404: Unauthorized,  # what a malformed token gets: the method's URL does not exist
    429: Throttled,
    500: OutcomeUnknown,
    502: OutcomeUnknown,
    503: Unavailable,
    504: OutcomeUnknown,
}
_GONE: Final = "chat not found"


class TelegramCredentials(Credentials):
    bot_token: Token = Field(
        title="Bot token",
        description="From @BotFather, after /newbot or /token.",
        json_schema_extra={"placeholder": "123456:ABC-DEF1234ghIkl-zyx57W2v1u123ew11"},
    )
    webhook_secret: Token = Field(
        default_factory=lambda: SecretStr(random_token(32)),
        title="Webhook secret",
        description="Telegram sends it with every callback. If empty, one is made for you.",
        json_schema_extra={"is_sent": False},
    )

    @field_validator("bot_token")
    @classmethod
    def _has_the_shape_of_a_token(cls, value: SecretStr) -> SecretStr:
        if _TOKEN.fullmatch(value.get_secret_value()) is None:
            raise ValueError(
                "is not a bot token; it looks like 123456:ABC-DEF, copy it from @BotFather"
            )
        return value

    @field_validator("webhook_secret")
    @classmethod
    def _fits_a_header(cls, value: SecretStr) -> SecretStr:
        if _WEBHOOK_SECRET.fullmatch(value.get_secret_value()) is None:
            raise ValueError("must be 1 to 256 letters, digits, _ or -")
        return value


class TelegramProvider(Provider[TelegramCredentials]):
    type = "telegram"
    title = "Telegram"
    icon = "send"
    channel = "telegram"
    summary = "Messages from a Telegram bot to people and groups that have started it."
    recipient_kind = "chat"
    recipient_example = "123456789"
    base_url = "https://api.telegram.org/bot"  # the token follows directly
    capabilities = frozenset({Capability.TEXT})
    pacing = Pacing(per_second=30, per_recipient_per_second=1, per_group_per_second=20 / 60)
    text_limit = 4096
    credentials_model = TelegramCredentials

    def __init__(self, credentials: TelegramCredentials, context: ProviderContext) -> None:
        super().__init__(credentials, context)
        self._send_message = self._endpoint("sendMessage")

    def account_key(self) -> str:
        return digest(self.type, self.credentials.bot_token.get_secret_value())

    @classmethod
    def is_group(cls, to: str) -> bool:
        # Groups have negative ids; an @name is a channel or a group.
        return to.startswith(("-", "@"))

    def _endpoint(self, method: str) -> Endpoint:
        token = self.credentials.bot_token.get_secret_value()
        return Endpoint(
            self.context.http,
            "POST",
            f"{self.api_url}{token}/{method}",
            JSON_HEADERS,
            timeout_s=self.context.timeout_s,
            title=self.title,
        )

    @classmethod
    def validate_recipient(cls, to: str) -> str:
        recipient = to.strip()
        if _CHAT_ID.fullmatch(recipient) or _USERNAME.fullmatch(recipient):
            return recipient
        raise InvalidRecipient(
            f"'{to[:40]}' is not a Telegram chat; use its numeric id, like '123456789', or the"
            " '@name' of a channel."
        )

    async def validate(self) -> Health:
        with credential_check() as elapsed_ms:
            answer = await self._endpoint("getMe").call(b"{}")
            bot = answer.body.get("result")
            if not answer.body.get("ok") or not isinstance(bot, dict):
                raise self._refusal(answer)
            username = self.quote(bot.get("username", ""))
            return Health(
                True,
                f"Connected to Telegram: bot '@{username}' answered in {elapsed_ms()} ms.",
                {"username": username, "botId": str(bot.get("id", ""))},
            )

    async def send(self, message: OutboundMessage) -> Accepted:
        text = self.check_text(message)
        chat_id: int | str = message.to if message.to.startswith("@") else int(message.to)
        started = time.monotonic()
        answer = await self._send_message.call(orjson.dumps({"chat_id": chat_id, "text": text}))
        migrated_to = _parameters(answer).get("migrate_to_chat_id")
        if isinstance(migrated_to, int) and not answer.is_success:
            # The group became a supergroup and nothing was sent; both tries share a deadline.
            left_s = max(0.1, self.context.timeout_s - (time.monotonic() - started))
            body = orjson.dumps({"chat_id": migrated_to, "text": text})
            answer = await self._send_message.call(body, timeout_s=left_s)
        return self._accepted(answer, message, migrated_to)

    def _accepted(self, answer: Answer, message: OutboundMessage, migrated_to: object) -> Accepted:
        result = answer.body.get("result")
        if not (answer.is_success and answer.body.get("ok") is True):
            raise self._refusal(answer, message.text)
        if not isinstance(result, dict) or not isinstance(result.get("message_id"), int):
            raise OutcomeUnknown(
                "Telegram said ok without a message id; it may have taken the message.",
                code="garbled_answer",
            )
        said = {} if migrated_to is None else {"migratedToChatId": str(migrated_to)}
        # A message id is unique within its chat; callbacks name both.
        return Accepted(str(result["message_id"]), answer=said)

    def _refusal(self, answer: Answer, text: str = "") -> SendError:
        code = answer.body.get("error_code")
        description = self.quote(answer.body.get("description", ""), text)
        error = refusal(
            self.title,
            answer,
            table=_ERRORS,
            code=code if isinstance(code, int) else None,
            reason=description,
            said={"description": description},
        )
        retry_after = _parameters(answer).get("retry_after")
        if isinstance(error, Unavailable) and isinstance(retry_after, int | float):
            error.retry_after_s = float(retry_after)
        if isinstance(error, Rejected) and _GONE in description:
            error.suppress = True
        return error


def _parameters(answer: Answer) -> dict[str, Any]:
    parameters = answer.body.get("parameters")
    return parameters if isinstance(parameters, dict) else {}
