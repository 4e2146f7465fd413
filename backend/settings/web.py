"""The web server: where it listens, which proxies it trusts, and what a request may cost."""

from __future__ import annotations

import ipaddress
from typing import Annotated

from pydantic import Field, field_validator
from pydantic_settings import NoDecode

from backend import server_urls
from backend.settings.base import Base


class WebSettings(Base):
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
            "Comma-separated addresses and networks whose X-Forwarded-* headers are trusted; *:"
            " those of every direct client, but of no proxy behind it"
        ),
    )
    body_limit_bytes: int = Field(256 * 1024, ge=1024, description="Largest JSON body")
    body_timeout_s: float = Field(
        20.0,
        ge=0,
        description=(
            "How long a body may take to arrive, or an answer to be read, on top of what"
            " BODY_BYTES_PER_S allows; 0: forever"
        ),
    )
    body_bytes_per_s: int = Field(
        4096, ge=0, description="Slowest upload or download after BODY_TIMEOUT_S; 0: any speed"
    )
    slow_bodies_per_address: int = Field(
        100,
        ge=0,
        description=(
            "Uploads, and downloads, of an address that may take over two seconds at once, per web"
            " process; 0: any number"
        ),
    )
    connections_per_address: int = Field(
        1000,
        ge=0,
        description=(
            "Connections an address may hold to a web process (trusted proxies: any number); 0: any"
            " number"
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
        2048, ge=0, description="Above this, silent web sockets are closed; 0: never"
    )
    web_workers: int = Field(1, ge=1, le=64, description="Web server processes")

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

    @field_validator("api_base_url")
    @classmethod
    def _is_public_url(cls, value: str | None) -> str | None:
        if value is not None:
            server_urls.check_public_url(value)
        return value

    @property
    def is_local(self) -> bool:
        """Whether only this machine reaches the server, as far as the settings say: no public URL,
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
        url = self.api_base_url or f"http://{server_urls.url_host(self.host)}:{self.port}"
        return url.rstrip("/")
