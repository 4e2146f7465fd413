"""Every environment variable, typed and explained once; services get values, never `os.environ`."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Final, Literal
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import AliasChoices, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from backend import server_urls
from backend.durations import parse_duration_s

_DAY_S: Final = 24 * 3600
# Now and then, plus this, is an instant that the database and Python hold.
_LONGEST_S: Final = 3650 * _DAY_S


class Settings(BaseSettings):
    """Names follow the reference documents' environment lists; `.env` in the working directory is
    read.
    """

    model_config = SettingsConfigDict(
        env_file=".env",
        env_file_encoding="utf-8",
        extra="ignore",
        case_sensitive=False,
        hide_input_in_errors=True,
    )

    # --- Servers. Empty: `messagejs up` starts embedded ones in the data directory.
    database_url: SecretStr | None = Field(
        None, description="Postgres: postgresql://user:pass@host:5432/messagejs"
    )
    database_pool_size: int = Field(
        20, ge=2, le=200, description="Most Postgres connections a process opens"
    )
    redis_url: SecretStr | None = Field(
        None, description="Redis or Valkey, e.g. redis://host:6379/0"
    )
    redis_password: SecretStr | None = Field(
        None, description="Password of REDIS_URL, where the URL has none"
    )
    data_dir: Path = Field(
        Path(".messagejs"),
        validation_alias=AliasChoices("MESSAGEJS_DATA_DIR", "data_dir"),
        description="Where the embedded servers and generated secrets live",
    )

    # --- Secrets. Generated into the data directory by `messagejs up` when it runs the embedded
    # servers.
    jwt_secret: SecretStr | None = Field(
        None, description="Signs access tokens; at least 32 characters"
    )
    encryption_key: SecretStr | None = Field(
        None, description="64 hex digits; encrypts connector credentials"
    )
    encryption_key_previous: SecretStr | None = Field(
        None, description="Old keys, comma-separated, still decrypted with"
    )
    key_pepper: SecretStr | None = Field(
        None, description="Keys the hash of API keys; at least 32 characters"
    )

    # --- Sessions. "15m", "7d" or seconds.
    jwt_expires_in: Annotated[int, NoDecode] = Field(15 * 60, description="Life of an access token")
    jwt_refresh_expires_in: Annotated[int, NoDecode] = Field(
        7 * 24 * 3600, description="Life of a refresh token"
    )
    bcrypt_cost: int = Field(
        11,
        ge=4,
        le=16,
        description="A password's hash takes 2^cost rounds; tests alone go below 10",
    )
    registration: Literal["open", "invite", "closed"] = Field(
        "open",
        description=(
            "Who may register. Unset: open where only this machine reaches the server, else invite,"
            " which lets the first account be made"
        ),
    )
    login_attempts_per_account: int = Field(
        10,
        ge=1,
        description=(
            "Failed logins per account, address and 15 minutes; ten times as many an hour over all"
        ),
    )
    login_attempts_per_address: int = Field(
        50, ge=1, description="Failed logins per address and 15 minutes"
    )

    registrations_per_address: int = Field(
        20, ge=0, description="Accounts an address may make an hour; 0: off"
    )
    platform_smtp_url: SecretStr | None = Field(
        None,
        description=(
            "Mail server for password resets and invitations:"
            " smtp[s]://user:password@host:587?from=hello@example.com[&security=none]; empty: links"
            " go to the log"
        ),
    )

    # --- The web server.
    host: str = Field("127.0.0.1", description="Address the web server binds")
    port: int = Field(8000, ge=1, le=65535, description="Port of dashboard, API, docs and SDK")
    api_base_url: str | None = Field(
        None, description="Public URL, where it differs from host and port"
    )
    allowed_origins: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated origins that may call the dashboard API from a browser"
    )
    trusted_proxies: Annotated[tuple[str, ...], NoDecode] = Field(
        (),
        description=(
            "Comma-separated addresses and networks whose X-Forwarded-* headers are believed; "
            "*: those of whoever connects, and nobody behind"
        ),
    )
    body_limit_bytes: int = Field(256 * 1024, ge=1024, description="Largest JSON body")
    body_timeout_s: float = Field(
        20.0,
        ge=0,
        description=(
            "How long a body may take to arrive, or an answer to be read, "
            "beyond what BODY_BYTES_PER_S gives it; 0: for ever"
        ),
    )
    body_bytes_per_s: int = Field(
        4096, ge=0, description="Slowest upload or reader after BODY_TIMEOUT_S; 0: any byte will do"
    )
    slow_bodies_per_address: int = Field(
        100,
        ge=0,
        description=(
            "Bodies, and answers, an address may have on their way for over two seconds, a web"
            " process; 0: any"
        ),
    )
    connections_per_address: int = Field(
        1000,
        ge=0,
        description=(
            "Connections an address may hold to a web process, trusted proxies aside; 0: any"
        ),
    )
    sockets_per_address: int = Field(
        500,
        ge=1,
        description=(
            "Web sockets (dashboard tabs) an address (IPv6: a /64) may hold in a web process"
        ),
    )
    web_memory_mb: int = Field(
        2048, ge=0, description="Above it silent web sockets are closed; 0: never"
    )
    dashboard_rate_limit_per_minute: int = Field(
        100, ge=0, description="Dashboard API calls a user; 0: off"
    )
    global_rate_limit_per_minute: int = Field(
        6000,
        ge=0,
        description=(
            "Requests an address may make to one web process, sends with a key aside; 0: off"
        ),
    )
    campaign_body_limit_bytes: int = Field(
        50 * 1024 * 1024, ge=1024, description="Largest upload of a campaign"
    )
    campaign_max_rows: int = Field(100_000, ge=1, description="Rows a campaign's file may have")
    web_workers: int = Field(1, ge=1, le=64, description="Web server processes")

    # --- Sending.
    workers: int = Field(
        1, ge=0, le=64, description="Delivery worker processes that `messagejs up` starts"
    )
    default_plan: Literal["free", "pro", "enterprise"] = Field(
        "enterprise", description="Plan of a new project"
    )
    api_key_rate_limit: int | None = Field(
        None, ge=1, description="Messages a window for a key without its own limit"
    )
    api_key_rate_window: int = Field(
        3_600_000,
        ge=1000,
        le=_LONGEST_S * 1000,
        description="Window of keys' rate limits, in milliseconds",
    )
    free_monthly_quota: int | None = Field(
        10_000, ge=1, description="Messages a month of a project on plan free"
    )
    pro_monthly_quota: int | None = Field(
        1_000_000, ge=1, description="Messages a month of a project on plan pro"
    )
    enterprise_monthly_quota: int | None = Field(
        None, ge=1, description="The same on plan enterprise; empty: no quota"
    )
    rate_limit_fail_open_secret: bool = Field(
        True, description="Without Redis, let secret keys send uncounted"
    )
    rate_limit_fail_open_publishable: bool = Field(
        False, description="Without Redis, let publishable keys send"
    )
    key_expiry_days: int = Field(
        0,
        ge=0,
        le=36_500,
        description="Days until a new key expires that names no expiry of its own; 0: never",
    )
    projects_per_user: int = Field(
        100, ge=0, description="Projects a user may make, deleted ones aside; 0: no limit"
    )
    max_keys_per_project: int = Field(
        100, ge=0, description="API keys a project may have; 0: no limit"
    )
    idempotency_ttl_s: int = Field(
        24 * 3600, ge=60, le=_LONGEST_S, description="How long an Idempotency-Key is remembered"
    )
    accept_queue_limit: int = Field(
        2000, ge=1, description="Sends waiting for the group commit before 503"
    )
    campaign_ahead: int = Field(
        5000,
        ge=1,
        description=(
            "Messages of campaigns that may wait for one connector, before more are accepted"
        ),
    )
    delivery_concurrency: int = Field(
        400, ge=1, le=5000, description="Sends in flight in one worker"
    )
    lease_s: float = Field(
        30.0, ge=0.5, le=_DAY_S, description="How long a claimed message belongs to a worker"
    )
    provider_timeout_s: float = Field(
        20.0, gt=0, le=_DAY_S, description="Deadline of one provider exchange; under lease_s"
    )
    retry_max_attempts: int = Field(8, ge=1, description="Attempts before a message has failed")
    retry_base_s: float = Field(
        1.0, gt=0, le=_DAY_S, description="First retry's longest delay; doubles each time"
    )
    retry_cap_s: float = Field(
        15 * 60.0, gt=0, le=_LONGEST_S, description="Longest delay between attempts"
    )
    retry_max_age_s: float = Field(
        24 * 3600.0, gt=0, le=_LONGEST_S, description="Age at which retrying ends"
    )
    uncertain_settle_s: float = Field(
        15.0,
        gt=0,
        le=_DAY_S,
        description="How long a receipt may settle a send whose outcome is unknown",
    )
    callback_limit_bytes: int = Field(
        3 * 1024 * 1024, ge=1024, description="Largest callback of a provider"
    )
    callback_retention_days: int = Field(
        7, ge=1, le=365, description="How long providers' callbacks are kept as they came"
    )
    callback_kept_bytes: int = Field(
        32 * 1024 * 1024,
        ge=0,
        description="Bytes of callbacks kept as they came, a connector and day",
    )
    content_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days after which content is removed where a project says nothing; 0: never",
    )
    retention_days: int = Field(
        0,
        ge=0,
        le=3650,
        description="Days after which messages are removed where a project says nothing; 0: never",
    )
    circuit_first_pause_s: float = Field(
        5.0,
        gt=0,
        le=_DAY_S,
        description=(
            "Pause of a connector that only fails, before one message finds out; doubles each time"
        ),
    )
    circuit_longest_pause_s: float = Field(300.0, gt=0, le=_DAY_S, description="Longest such pause")
    shutdown_grace_s: float = Field(
        12.0, ge=0, le=_DAY_S, description="How long in-flight sends may finish at a stop"
    )

    # --- Providers' addresses, so that a fake or an on-premise server can stand in.
    whatsapp_api_url: str | None = Field(
        None, description="Where WhatsApp's API is; default: its public address"
    )
    whatsapp_api_version: str = Field("v23.0", description="The version of Meta's Graph API")
    telegram_api_url: str | None = Field(
        None, description="Where Telegram's Bot API is; default: its public address"
    )
    twilio_api_url: str | None = Field(
        None, description="Where Twilio's API is; default: its public address"
    )
    slack_api_url: str | None = Field(None, description="For a later version: Slack's API")
    discord_api_url: str | None = Field(None, description="For a later version: Discord's API")
    exotel_api_url: str | None = Field(None, description="For a later version: Exotel's API")
    allow_private_network: bool = Field(
        False, description="Let tenants name private and loopback hosts"
    )

    # --- Operations.
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="The least that is logged"
    )
    log_format: Literal["auto", "console", "json"] = Field(
        "auto", description="auto: console on a terminal"
    )
    watchdog_s: float = Field(
        30.0,
        ge=0,
        description=(
            "A web or worker process whose event loop is silent for so long is ended; 0: never"
        ),
    )
    sentry_dsn: SecretStr | None = Field(None, description="Report unexpected errors to Sentry")

    @field_validator("jwt_expires_in", "jwt_refresh_expires_in", mode="before")
    @classmethod
    def _duration(cls, value: object) -> int:
        seconds = parse_duration_s(value)
        if seconds > _LONGEST_S:
            raise ValueError(f"'{value}' is longer than 3650d; name a shorter time")
        return seconds

    @field_validator("allowed_origins", "trusted_proxies", mode="before")
    @classmethod
    def _comma_separated(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip().rstrip("/") for part in value.split(",") if part.strip())
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return server_urls.check_proxies(value)

    @field_validator("log_level", mode="before")
    @classmethod
    def _lower(cls, value: object) -> object:
        return value.lower() if isinstance(value, str) else value

    @field_validator(
        "database_url",
        "redis_url",
        "redis_password",
        "jwt_secret",
        "encryption_key",
        "encryption_key_previous",
        "key_pepper",
        "platform_smtp_url",
        "sentry_dsn",
        "api_base_url",
        "api_key_rate_limit",
        "free_monthly_quota",
        "pro_monthly_quota",
        "enterprise_monthly_quota",
        mode="before",
    )
    @classmethod
    def _empty_is_unset(cls, value: object) -> object:
        return None if value == "" else value

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

    @field_validator("platform_smtp_url")
    @classmethod
    def _is_smtp(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parts = urlsplit(value.get_secret_value())
            try:
                is_complete = (
                    parts.scheme in {"smtp", "smtps"} and parts.hostname and parts.port != 0
                )
            except ValueError:  # the port is no number
                is_complete = False
            if not is_complete:
                raise ValueError("must read smtp://user:password@host:587?from=hello@example.com")
        return value

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

    @field_validator("sentry_dsn")
    @classmethod
    def _is_sentry_dsn(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            server_urls.check_sentry_dsn(value.get_secret_value())
        return value

    @field_validator("api_base_url")
    @classmethod
    def _is_public_url(cls, value: str | None) -> str | None:
        if value is not None:
            server_urls.check_public_url(value)
        return value

    @model_validator(mode="after")
    def _lease_outlives_the_exchange(self) -> Settings:
        if self.provider_timeout_s >= self.lease_s:
            raise ValueError(
                f"PROVIDER_TIMEOUT_S ({self.provider_timeout_s:g}) must be under LEASE_S"
                f" ({self.lease_s:g}); otherwise a slow send outlives its claim"
            )
        return self

    @model_validator(mode="after")
    def _strangers_need_an_invitation(self) -> Settings:
        if "registration" not in self.model_fields_set and not self.is_local:
            self.registration = "invite"
        return self

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server, as far as the settings tell: no public URL,
        no proxy.
        """
        if self.api_base_url is not None or self.trusted_proxies:
            return False
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def public_url(self) -> str:
        """The URL a browser uses, without a trailing slash."""
        return (
            self.api_base_url or f"http://{server_urls.url_host(self.host)}:{self.port}"
        ).rstrip("/")

    @property
    def mail_enabled(self) -> bool:
        """Whether this server can send mail of its own; without it links are printed to the log."""
        return self.platform_smtp_url is not None

    def require_database_url(self) -> str:
        return _required(
            self.database_url, "DATABASE_URL", "postgresql://user:password@host:5432/messagejs"
        )

    def require_redis_url(self) -> str:
        """The URL with REDIS_PASSWORD filled in where it names none."""
        url = _required(self.redis_url, "REDIS_URL", "redis://host:6379/0")
        parts = urlsplit(url)
        if self.redis_password is None or parts.password is not None:
            return url
        password = quote(self.redis_password.get_secret_value(), safe="")
        host = parts.netloc.rpartition("@")[2]
        return urlunsplit(parts._replace(netloc=f"{parts.username or ''}:{password}@{host}"))

    def require_jwt_secret(self) -> str:
        return _required(self.jwt_secret, "JWT_SECRET", "the output of 'openssl rand -hex 32'")

    def require_key_pepper(self) -> str:
        return _required(self.key_pepper, "KEY_PEPPER", "the output of 'openssl rand -hex 32'")

    def encryption_keys(self) -> tuple[str, ...]:
        """The current key first, then the old ones, each as 64 hex digits."""
        current = _required(
            self.encryption_key, "ENCRYPTION_KEY", "the output of 'openssl rand -hex 32'"
        )
        previous = (
            self.encryption_key_previous.get_secret_value() if self.encryption_key_previous else ""
        )
        return (current, *_parts(previous))

    def monthly_quotas(self) -> dict[str, int | None]:
        """Messages a calendar month per plan; None: no quota."""
        return {
            "free": self.free_monthly_quota,
            "pro": self.pro_monthly_quota,
            "enterprise": self.enterprise_monthly_quota,
        }

    def provider_urls(self, defaults: Mapping[str, str]) -> dict[str, str]:
        """Return the base URL of each provider type, given the providers' own.

        `<TYPE>_API_URL` replaces the default, and `<TYPE>_API_VERSION` follows it, where there are
        such settings.
        """
        return {type_: self._provider_url(type_, default) for type_, default in defaults.items()}

    def _provider_url(self, type_: str, default: str) -> str:
        url: str = getattr(self, f"{type_}_api_url", None) or default
        version: str | None = getattr(self, f"{type_}_api_version", None)
        if version is None:
            return url
        return f"{url.rstrip('/')}/{version}"


class MissingSetting(Exception):
    """A variable that this process cannot do without is not set."""


def _required(value: SecretStr | None, name: str, example: str) -> str:
    if value is None:
        raise MissingSetting(f"{name} is not set; set it to {example}.")
    return value.get_secret_value()


def _is_key(text: str) -> bool:
    return len(text) == 64 and all(c in "0123456789abcdefABCDEF" for c in text)


def _parts(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the environment once; `get_settings.cache_clear()` reads it again."""
    return Settings()
