"""A client says at once what it cannot work with."""

from __future__ import annotations

import pytest
from messagejs import AsyncClient, Client


@pytest.mark.parametrize("key", ["", "  "])
@pytest.mark.parametrize("client", [Client, AsyncClient])
def test_an_empty_key_is_named(client: type[Client | AsyncClient], key: str) -> None:
    with pytest.raises(ValueError, match="api_key is empty; pass a secret key"):
        client(key)
