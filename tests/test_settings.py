"""Settings: every variable has its documented name, and a wrong one is named at start."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from backend.provider_types import default_urls
from backend.settings import MissingSetting, Settings

SECRET = "s" * 40
KEY = "ab" * 32


@pytest.fixture(autouse=True)
def empty_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No variable of ours, and no `.env` in the working directory."""
    for name in [*(name.upper() for name in Settings.model_fields), "MESSAGEJS_DATA_DIR"]:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


def _complaints(monkeypatch: pytest.MonkeyPatch, **variables: str) -> dict[str, str]:
    """Return field -> message of what Settings refuses."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    return {
        str(error["loc"][0]) if error["loc"] else "": error["msg"]
        for error in caught.value.errors()
    }


def test_nothing_needs_to_be_set() -> None:
    settings = Settings()
    assert settings.database_url is None
    assert settings.data_dir == Path(".messagejs")
    assert settings.public_url == "http://127.0.0.1:8000"


# The environment lists of the reference documents, less what has no place here (MongoDB, RabbitMQ,
# Node, file uploads, a secret for refresh tokens, which are random and not signed) and what later
# issues bring (WEBHOOK_*).
@pytest.mark.parametrize(
    ("name", "value", "field", "expected"),
    [
        (
            "DATABASE_URL",
            "postgresql://u:p@h/db",
            "database_url",
            SecretStr("postgresql://u:p@h/db"),
        ),
        ("REDIS_URL", "redis://h:6379/0", "redis_url", SecretStr("redis://h:6379/0")),
        ("JWT_SECRET", SECRET, "jwt_secret", SecretStr(SECRET)),
        ("JWT_EXPIRES_IN", "15m", "jwt_expires_in", 900),
        ("JWT_REFRESH_EXPIRES_IN", "7d", "jwt_refresh_expires_in", 604_800),
        ("ENCRYPTION_KEY", KEY, "encryption_key", SecretStr(KEY)),
        ("API_BASE_URL", "https://api.example.com", "api_base_url", "https://api.example.com"),
        (
            "ALLOWED_ORIGINS",
            "https://app.example.com, https://example.com/,",
            "allowed_origins",
            ("https://app.example.com", "https://example.com"),
        ),
        ("WHATSAPP_API_URL", "http://127.0.0.1:1", "whatsapp_api_url", "http://127.0.0.1:1"),
        (
            "TELEGRAM_API_URL",
            "http://127.0.0.1:2/bot",
            "telegram_api_url",
            "http://127.0.0.1:2/bot",
        ),
        ("API_KEY_RATE_LIMIT", "1000", "api_key_rate_limit", 1000),
        ("API_KEY_RATE_WINDOW", "3600000", "api_key_rate_window", 3_600_000),
        ("REDIS_PASSWORD", "redis-password", "redis_password", SecretStr("redis-password")),
        (
            "SENTRY_DSN",
            "https://k@sentry.example.com/1",
            "sentry_dsn",
            SecretStr("https://k@sentry.example.com/1"),
        ),
        ("LOG_LEVEL", "INFO", "log_level", "info"),
        ("PORT", "4000", "port", 4000),
    ],
)
def test_a_variable_has_the_name_of_the_reference(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, field: str, expected: object
) -> None:
    monkeypatch.setenv(name, value)
    assert getattr(Settings(), field) == expected


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("DATABASE_URL", "mysql://h/db", "must start with postgresql://"),
        ("DATABASE_URL", "postgresql://mj:p@ss:w/o#r@host/db", "must be percent-encoded (@ is %40"),
        ("DATABASE_URL", "postgresql://mj:pass/word@host/db", "must be percent-encoded"),
        ("DATABASE_URL", "postgresql://mj:1/word@host/db", "must be percent-encoded"),
        ("DATABASE_URL", "postgresql://mj:pa?ss@host/db", "must be percent-encoded"),
        ("DATABASE_URL", "postgresql://mj:pa%ss@host/db", "must be percent-encoded"),
        ("DATABASE_URL", "postgresql://mj:pa[ss@host/db", "must be percent-encoded"),
        ("DATABASE_URL", "postgresql://mj:pass@host:port/db", "a port is a number"),
        ("REDIS_URL", "host:6379", "must start with redis://"),
        ("REDIS_URL", "redis://host:6379/abc", "a database that is not a number"),
        ("REDIS_URL", "redis://host:6379?db=abc", "a database that is not a number"),
        ("REDIS_URL", "redis://:pa#ss@host:6379", "must be percent-encoded"),
        ("REDIS_URL", "redis://host:port", "a port is a number"),
        (
            "ENCRYPTION_KEY_PREVIOUS",
            "abc",
            "old values of ENCRYPTION_KEY, each 64 hexadecimal digits",
        ),
        ("ENCRYPTION_KEY_PREVIOUS", f"{KEY},abc", "each 64 hexadecimal digits"),
        ("SENTRY_DSN", "junk", "must be the DSN that Sentry shows"),
        ("SENTRY_DSN", "https://key@sentry.example.com", "must be the DSN that Sentry shows"),
        ("API_BASE_URL", "host", "must be a URL with its scheme"),
        ("API_BASE_URL", "host:8000", "must be a URL with its scheme"),
        ("API_BASE_URL", "https://", "must be a URL with its scheme"),
        ("API_BASE_URL", "https://host/?a=b", "without user, query or fragment"),
        (
            "PLATFORM_SMTP_URL",
            "smtp://user:password@host:port",
            "must read smtp://user:password@host:587",
        ),
        (
            "JWT_SECRET",
            "short",
            "needs at least 32 characters; make one with 'openssl rand -hex 32'",
        ),
        ("KEY_PEPPER", "short", "needs at least 32 characters"),
        ("ENCRYPTION_KEY", "xyz", "needs 64 hexadecimal digits"),
        ("ENCRYPTION_KEY", "g" * 64, "needs 64 hexadecimal digits"),
        ("JWT_EXPIRES_IN", "soon", "is not a duration"),
        ("JWT_EXPIRES_IN", "99999999999d", "longer than 3650d"),
        ("LEASE_S", "inf", "less than or equal to 86400"),
        ("RETRY_MAX_AGE_S", "nan", "less than or equal to"),
        ("IDEMPOTENCY_TTL_S", "99999999999", "less than or equal to"),
        ("PORT", "99999", "less than or equal to 65535"),
        ("PORT", "http", "valid integer"),
        ("LOG_LEVEL", "loud", "'debug', 'info', 'warning' or 'error'"),
        ("REGISTRATION", "maybe", "'open', 'invite' or 'closed'"),
        ("WEB_WORKERS", "0", "greater than or equal to 1"),
        ("API_KEY_RATE_LIMIT", "0", "greater than or equal to 1"),
        ("ALLOW_PRIVATE_NETWORK", "perhaps", "valid boolean"),
    ],
)
def test_a_wrong_variable_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, complaint: str
) -> None:
    complaints = _complaints(monkeypatch, **{name: value})
    assert list(complaints) == [name.lower()]
    assert complaint in complaints[name.lower()]


def test_every_wrong_variable_is_named_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    complaints = _complaints(
        monkeypatch, PORT="x", JWT_SECRET="short", LOG_LEVEL="loud", DATABASE_URL="h"
    )
    assert set(complaints) == {"port", "jwt_secret", "log_level", "database_url"}


def test_a_refused_secret_is_not_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("JWT_SECRET", "ENCRYPTION_KEY", "KEY_PEPPER", "DATABASE_URL"):
        monkeypatch.setenv(name, "hunter2")
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "password",
    ["zq@xk:vj/jw#qx", "zq/xkvjjw", "zq#xkvjjw", "zq?xkvjjw", "zq%xkvjjw", "zq[xkvj", "1/xkv:jw"],
)
@pytest.mark.parametrize("scheme", ["postgresql", "redis"])
def test_no_piece_of_a_password_that_breaks_its_url_is_repeated(
    monkeypatch: pytest.MonkeyPatch, scheme: str, password: str
) -> None:
    name = "DATABASE_URL" if scheme == "postgresql" else "REDIS_URL"
    monkeypatch.setenv(name, f"{scheme}://user:{password}@host/0")
    try:
        Settings()
    except ValidationError as exc:
        shown = str(exc)
        pieces = [piece for piece in re.split(r"\W", password) if len(piece) > 1]
        assert not [piece for piece in pieces if piece in shown]
    else:
        assert scheme == "redis"  # which its client still reads


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss%2Fw%23rd@host:5432/db?sslmode=require",
        "postgresql://user@[::1]:5432/db",
        "postgresql://h1:5432,h2/db?target_session_attrs=read-write",
        "postgresql:///db?host=/var/run/postgresql&user=me@tenant",
        "postgres://user:p:w@host/db",
    ],
)
def test_an_address_that_postgres_clients_read_is_taken(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("DATABASE_URL", url)
    assert Settings().require_database_url() == url


@pytest.mark.parametrize(
    "url",
    [
        "redis://:p@ss@h:6379/3",
        "rediss://u:p@h?ssl_cert_reqs=none",
        "unix:///run/v.sock?db=2",
        "redis://h",
    ],
)
def test_an_address_that_the_redis_client_reads_is_taken(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    assert Settings().require_redis_url() == url


def test_an_exchange_may_not_outlive_its_lease(monkeypatch: pytest.MonkeyPatch) -> None:
    (complaint,) = _complaints(monkeypatch, PROVIDER_TIMEOUT_S="30", LEASE_S="30").values()
    assert "PROVIDER_TIMEOUT_S (30) must be under LEASE_S (30)" in complaint


def test_no_secret_is_in_the_printed_form(monkeypatch: pytest.MonkeyPatch) -> None:
    secret_fields = [
        name
        for name, field in Settings.model_fields.items()
        if "SecretStr" in str(field.annotation)
    ]
    values: dict[str, str] = {
        name: f"{place:x}" * 64 for place, name in enumerate(secret_fields, start=1)
    }
    for name in [name for name in secret_fields if name.endswith("_url")]:
        scheme = {"database_url": "postgresql", "redis_url": "redis"}.get(name, "smtp")
        values[name] = f"{scheme}://user:{values[name]}@host"
    given = values | {"sentry_dsn": f"https://{values['sentry_dsn']}@host/1"}
    for name, value in given.items():
        monkeypatch.setenv(name.upper(), value)
    settings = Settings()
    assert {"jwt_secret", "encryption_key", "encryption_key_previous", "key_pepper"} <= set(
        secret_fields
    )
    shown = f"{settings!r} {settings} {settings.model_dump()}"
    assert not [name for name in secret_fields if values[name].removesuffix("@host")[-40:] in shown]


def test_an_empty_variable_is_an_unset_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Compose files and `.env` templates pass empty strings for what is not set."""
    for name in (
        "DATABASE_URL",
        "REDIS_URL",
        "JWT_SECRET",
        "ENCRYPTION_KEY",
        "KEY_PEPPER",
        "SENTRY_DSN",
        "FREE_MONTHLY_QUOTA",
    ):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("ALLOWED_ORIGINS", "")
    settings = Settings()
    assert settings.database_url is None
    assert settings.free_monthly_quota is None
    assert settings.jwt_secret is None
    assert settings.allowed_origins == ()


def test_the_env_file_is_read_and_the_environment_goes_before_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("PORT=4001\nLOG_LEVEL=debug\nSOMEBODY_ELSES=1\n")
    monkeypatch.setenv("LOG_LEVEL", "error")
    settings = Settings()
    assert (settings.port, settings.log_level) == (4001, "error")


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("require_database_url", "DATABASE_URL"),
        ("require_redis_url", "REDIS_URL"),
        ("require_jwt_secret", "JWT_SECRET"),
        ("require_key_pepper", "KEY_PEPPER"),
        ("encryption_keys", "ENCRYPTION_KEY"),
    ],
)
def test_what_is_needed_and_missing_is_named_with_an_example(method: str, name: str) -> None:
    with pytest.raises(MissingSetting, match=f"^{name} is not set; set it to "):
        getattr(Settings(), method)()


def test_the_current_key_comes_before_the_old_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENCRYPTION_KEY", KEY)
    monkeypatch.setenv("ENCRYPTION_KEY_PREVIOUS", f" {'cd' * 32} , {'ef' * 32},")
    assert Settings().encryption_keys() == (KEY, "cd" * 32, "ef" * 32)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({"HOST": "0.0.0.0"}, "http://localhost:8000"),
        ({"HOST": "::"}, "http://localhost:8000"),
        ({"HOST": "::1", "PORT": "80"}, "http://[::1]:80"),
        ({"API_BASE_URL": "https://msg.example.com/"}, "https://msg.example.com"),
    ],
)
def test_the_public_url_is_one_that_a_browser_can_open(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], url: str
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().public_url == url


def test_adapters_get_their_base_urls_ready_to_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WHATSAPP_API_URL", "http://127.0.0.1:9/")
    monkeypatch.setenv("WHATSAPP_API_VERSION", "v99.0")
    monkeypatch.setenv("TWILIO_API_URL", "")
    urls = Settings().provider_urls({**default_urls(), "pigeon": "https://pigeon.example.com/v2"})
    assert urls["whatsapp"] == "http://127.0.0.1:9/v99.0"
    assert urls["telegram"] == "https://api.telegram.org/bot"
    assert urls["twilio"] == "https://api.twilio.com"
    assert urls["pigeon"] == "https://pigeon.example.com/v2"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://h:6379/0", "redis://:p%40ss%2F1@h:6379/0"),
        ("redis://app@h:6379/0", "redis://app:p%40ss%2F1@h:6379/0"),
        ("redis://:own@h:6379/0", "redis://:own@h:6379/0"),
        ("rediss://[::1]:6379", "rediss://:p%40ss%2F1@[::1]:6379"),
    ],
)
def test_the_redis_password_goes_into_a_url_without_one(
    monkeypatch: pytest.MonkeyPatch, url: str, expected: str
) -> None:
    monkeypatch.setenv("REDIS_URL", url)
    monkeypatch.setenv("REDIS_PASSWORD", "p@ss/1")
    assert Settings().require_redis_url() == expected


@pytest.mark.parametrize(
    ("variables", "is_local"),
    [
        ({}, True),
        ({"HOST": "localhost"}, True),
        ({"HOST": "::1"}, True),
        ({"HOST": "0.0.0.0"}, False),
        ({"HOST": "192.0.2.1"}, False),
        ({"API_BASE_URL": "https://api.example.com"}, False),
        ({"TRUSTED_PROXIES": "127.0.0.1"}, False),
    ],
)
def test_registration_that_is_not_set_is_open_on_a_local_server_only(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], is_local: bool
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    settings = Settings()
    assert (settings.is_local, settings.registration) == (
        is_local,
        "open" if is_local else "invite",
    )
    for chosen in ("open", "closed"):
        monkeypatch.setenv("REGISTRATION", chosen)
        assert Settings().registration == chosen


@pytest.mark.parametrize("proxy", ["300.1.1.1", "proxy.example.com", "10.0.0.0/33", "10.0.0.5:80"])
def test_a_proxy_that_is_no_address_is_refused(proxy: str) -> None:
    with pytest.raises(ValidationError, match="not an address or a network"):
        Settings(_env_file=None, trusted_proxies=(proxy,))


def test_proxies_are_addresses_networks_or_whoever_connects() -> None:
    names = ("10.0.0.5", "10.0.0.0/8", "fd00::/8", "*")
    assert Settings(_env_file=None, trusted_proxies=names).trusted_proxies == names
