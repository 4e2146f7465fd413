"""The API's own description: complete, OpenAPI 3.1, and readable without the internet."""

from __future__ import annotations

import re

from tests.api.accounts import Api


async def test_the_document_is_openapi_3_1_and_describes_every_route(api: Api) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    assert document["openapi"].startswith("3.1")
    assert document["paths"].keys() >= {
        "/api/v1/auth/register",
        "/api/v1/auth/login",
        "/api/v1/auth/refresh",
        "/api/v1/auth/logout",
        "/api/v1/auth/me",
        "/api/v1/projects",
        "/api/v1/projects/{projectId}",
        "/api/v1/projects/{projectId}/keys",
        "/api/v1/projects/{projectId}/keys/{keyId}",
        "/api/v1/messages",
        "/healthz",
        "/readyz",
    }
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            assert operation.get("summary"), f"{method} {path}"
            assert operation.get("tags"), f"{method} {path}"
            assert "default" in operation["responses"], f"{method} {path}"
    # This API answers 400 where FastAPI by itself would say 422.
    assert "HTTPValidationError" not in document["components"]["schemas"]


async def test_user_routes_ask_for_a_bearer_token(api: Api) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    assert (
        document["components"]["securitySchemes"]["bearer"].items()
        >= {
            "type": "http",
            "scheme": "bearer",
        }.items()
    )
    assert document["paths"]["/api/v1/auth/me"]["get"]["security"] == [{"bearer": []}]
    assert document["paths"]["/api/v1/messages"]["post"]["security"] == [{"bearer": []}]
    assert "security" not in document["paths"]["/api/v1/auth/login"]["post"]


async def test_the_docs_page_needs_nothing_from_elsewhere(api: Api) -> None:
    page = await api.client.get("/docs")
    assert page.status_code == 200
    loaded = re.findall(r'(?:src|href)="([^"]+)"', page.text)
    assert len(loaded) >= 3
    for address in loaded:
        assert address.startswith(("/docs/", "data:")), address
        if address.startswith("/"):
            asset = await api.client.get(address)
            assert asset.status_code == 200, address
            assert len(asset.content) > 100
    assert "script-src" not in page.headers["content-security-policy"]
    assert "default-src 'self'" in page.headers["content-security-policy"]
    assert "/api/openapi.json" in (await api.client.get("/docs/start.js")).text


async def test_an_answer_with_an_id_is_linked_to_what_the_id_is_good_for(api: Api) -> None:
    document = (await api.client.get("/api/openapi.json")).json()
    known = {
        operation["operationId"]: path
        for path, operations in document["paths"].items()
        for operation in operations.values()
    }

    def linked(path: str, status: str) -> dict[str, dict[str, str]]:
        links = document["paths"][path]["post"]["responses"][status]["links"].values()
        return {known[link["operationId"]]: link["parameters"] for link in links}

    assert linked("/api/v1/messages", "202") == {
        f"/api/v1/messages/{{messageId}}{call}": {"messageId": "$response.body#/messageId"}
        for call in ("", "/cancel", "/resend")
    }
    key = "/api/v1/projects/{projectId}/keys/{keyId}"
    assert linked(key.rpartition("/")[0], "201") == {
        f"{key}{call}": {"projectId": "$request.path.projectId", "keyId": "$response.body#/id"}
        for call in ("", "/regenerate", "/usage")
    }
