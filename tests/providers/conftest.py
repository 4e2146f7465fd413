"""A pooled client and a way to make a provider; real sockets, no database."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from backend.providers.frame.http import PooledClient, open_http_client
from backend.providers.frame.provider import OutboundMessage, Provider, ProviderContext
from backend.providers.frame.registry import get_provider, parse_credentials

MakeProvider = Callable[..., Provider[Any]]


@pytest.fixture
async def http() -> AsyncIterator[PooledClient]:
    async with open_http_client(limit=50) as client:
        yield client


@pytest.fixture
async def make_provider(http: PooledClient) -> AsyncIterator[MakeProvider]:
    providers: list[Provider[Any]] = []

    def make(
        provider_type: str,
        credentials: Mapping[str, Any],
        base_url: str = "http://127.0.0.1:9",
        *,
        timeout_s: float = 5.0,
        allow_private_network: bool = True,
    ) -> Provider[Any]:
        context = ProviderContext(
            http=http,
            base_urls={provider_type: base_url},
            timeout_s=timeout_s,
            allow_private_network=allow_private_network,
        )
        providers.append(
            get_provider(provider_type)(parse_credentials(provider_type, credentials), context)
        )
        return providers[-1]

    yield make
    for provider in providers:
        await provider.aclose()


@pytest.fixture
def message() -> Callable[..., OutboundMessage]:
    def make(
        to: str = "+14155550123", text: str = "The boat leaves at nine.", **fields: Any
    ) -> OutboundMessage:
        return OutboundMessage(
            id=fields.pop("id", "msg_01h455vb4pex5vsknk084sn02q"), to=to, text=text, **fields
        )

    return make


@pytest.fixture
def server_tls(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server context for 'localhost' and the file with its self-signed certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    path, key_path = tmp_path / "cert.pem", tmp_path / "key.pem"
    path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path, key_path)
    return context, path
