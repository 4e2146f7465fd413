"""A hostile tenant: a user who tries, in random order, to stop, slow down or read the others.

It stays on loopback and stops by itself. Every answer is kept as text, so that a test can look for
other tenants' data in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import random
import secrets
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import httpx
import orjson
import socketio  # type: ignore[import-untyped]

MARKER: Final = "<reflex.Var>x</reflex.Var>"
ENCODED_WORD: Final = "=?utf-8?q?=0d=0aBcc:evil=40evil=2eexample?="
_PASSPHRASE: Final = "correct horse battery staple"
_SLOW_SOURCE: Final = "127.0.0.2"
_SLOW_BODIES: Final = 300
_TIMEOUT_S: Final = 15.0
_TABLE: Final = "to,name\n42,a\n43,b\n"
_STATE: Final = "reflex___state____state.messagejs_app___session____session"

BOMBS: Final = (
    '{% if (1..99999999999) contains "x" %}a{% endif %}',
    "{% for i in (1..2000) %}" + "{{x}}" * 400 + "{% endfor %}",
    "{{" + " " * 65_000 + "}}",
    "{{" * 20_000,
    "{% if " + "(" * 20_000 + " %}{% endif %}",
    "{{ (1..9999999) | join: ',' | size }}",
    "{% assign x = (1..2000000) | concat: (1..2000000) | uniq %}",
    "{% for i in (1..99999999) reversed limit: 99999999 %}{% endfor %}",
    "{% assign a = 'x' %}" + "{% assign a = a | append: a %}" * 60 + "{{ a }}",
)
INSTANTS: Final = ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00Z")

Attack = Callable[[], Awaitable[None]]


@dataclass
class Report:
    """What the tenant did and what it got back.

    `texts` are all answers' bodies; `failures` are statuses of 500 and above.
    """

    actions: Counter[str] = field(default_factory=Counter)
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[str] = field(default_factory=Counter)
    texts: list[str] = field(default_factory=list)


class HostileTenant:
    """Register with `enter`, then attack with `rage`.

    `victim` is another tenant's project id; `has_pages`: there is a dashboard to attack.
    """

    def __init__(self, base_url: str, *, seed: int, victim: str, has_pages: bool) -> None:
        self.base_url = base_url
        self.report = Report()
        self._random = random.Random(seed)
        self._victim = victim
        self._has_pages = has_pages
        self._client = httpx.AsyncClient(base_url=base_url, timeout=_TIMEOUT_S)
        self._email = f"hostile-{secrets.token_hex(4)}@example.com"
        self._cookie = ""
        self._project = ""
        self._key: dict[str, str] = {}
        self._connector = ""

    async def enter(self) -> None:
        user = {"email": self._email, "password": _PASSPHRASE, "name": MARKER}
        answer = await self._call("POST", "/api/v1/auth/register", json=user)
        self._client.headers["Authorization"] = f"Bearer {answer.json()['token']}"
        self._project = (await self._call("GET", "/api/v1/projects")).json()["projects"][0]["id"]
        key = await self._call(
            "POST", f"{self._at}/keys", json={"name": "k", "rateLimit": 1_000_000}
        )
        self._key = {"Authorization": f"Bearer {key.json()['key']}"}
        self._connector = await self._telegram("own")
        form = {"email": self._email, "password": _PASSPHRASE}
        async with httpx.AsyncClient(base_url=self.base_url, timeout=_TIMEOUT_S) as browser:
            await browser.post("/auth/login", data=form, headers={"Origin": self.base_url})
            self._cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())

    async def rage(self, seconds: float, *, at_once: int = 3) -> Report:
        """Attack for `seconds`, several at a time, in random order; all once before any repeats."""
        attacks = [
            (name.removeprefix("_attack_"), method)
            for name, method in inspect.getmembers(self, inspect.ismethod)
            if name.startswith("_attack_")
            and (self._has_pages or not name.startswith("_attack_socket"))
        ]
        ends_at = time.monotonic() + seconds
        waiting: list[tuple[str, Attack]] = []

        async def attack() -> None:
            while time.monotonic() < ends_at:
                if not waiting:
                    waiting.extend(self._random.sample(attacks, len(attacks)))
                name, method = waiting.pop()
                self.report.actions[name] += 1
                with contextlib.suppress(httpx.HTTPError, OSError, KeyError, ValueError):
                    await method()

        await asyncio.gather(*(attack() for _ in range(at_once)))
        await self._client.aclose()
        return self.report

    # --- The attacks.

    async def _attack_bombs_in_previews(self) -> None:
        for bomb in self._random.sample(BOMBS, 4):
            await self._call(
                "POST",
                "/api/v1/messages/preview",
                json=self._message(message=bomb),
                headers=self._key,
            )
            template = {"name": secrets.token_hex(4), "connectorType": "telegram", "content": bomb}
            answer = await self._call("POST", f"{self._at}/templates", json=template)
            if answer.status_code == 201:
                path = f"{self._at}/templates/{answer.json()['id']}/preview"
                for _ in range(5):
                    await self._call(
                        "POST", path, json={"content": bomb, "variables": {"x": "y" * 1000}}
                    )

    async def _attack_bombs_in_campaigns(self) -> None:
        await self._campaign(message=self._random.choice(BOMBS) + "{{ name }}")

    async def _attack_instants(self) -> None:
        for instant in INSTANTS:
            name = self._random.choice(["sendAt", "expiresAt"])
            await self._send(**{name: instant})
            await self._campaign(**{name: instant})
        await self._call("GET", "/api/v1/messages", params={"projectId": self._project})

    async def _attack_numbers(self) -> None:
        for number in ("18446744073709551616", "1e400", "NaN", "-9223372036854775809"):
            messages = [
                self._message(),
                {**self._message(), "metadata": {"n": "@"}},
                self._message(),
            ]
            body = orjson.dumps({"messages": messages}).replace(b'"@"', number.encode())
            headers = {**self._key, "content-type": "application/json"}
            await self._call("POST", "/api/v1/messages/batch", content=body, headers=headers)

    async def _attack_mail_connector(self) -> None:
        connector = await self._smtp(
            fromName=ENCODED_WORD, host=self._random.choice(["127.0.0.1", "..", "a" * 70])
        )
        if connector:
            await self._call("POST", f"{self._at}/connectors/{connector}/test")
            mail = {
                "to": "a@example.com",
                "connectorId": connector,
                "subject": ENCODED_WORD,
                "message": "x",
            }
            await self._call("POST", "/api/v1/messages", json=mail, headers=self._key)

    async def _attack_marker_names(self) -> None:
        connector = await self._telegram(MARKER)
        await self._call(
            "PUT",
            f"{self._at}/connectors/{connector}",
            json={"name": f">{MARKER}<", "isActive": False},
        )

    async def _attack_changed_destination(self) -> None:
        connector = await self._smtp(host="127.0.0.1", username="u", password="secret")
        changed = {"credentials": {"host": "127.0.0.1", "port": 2525, "security": "none"}}
        await self._call("PUT", f"{self._at}/connectors/{connector}", json=changed)
        await self._call("POST", f"{self._at}/connectors/{connector}/test")

    async def _attack_csv(self) -> None:
        tables = [
            "\r" * 2_000_000,
            "," * 2_000_000,
            "to," * 10_000 + "\n1,2",
            "to\n" + "x" * 1_000_000,
        ]
        table = self._random.choice(tables)
        await self._campaign(csv="to,name\n42,a\n" + table)

    async def _attack_unknown_fields(self) -> None:
        await self._send(**{f"unknown{number}": number for number in range(5000)})
        await self._send(variables={"a" * 200 + str(number): "b" for number in range(2000)})

    async def _attack_deep_json(self) -> None:
        headers = {**self._key, "content-type": "application/json"}
        await self._call(
            "POST", "/api/v1/messages", content=b"[" * 100_000 + b"]" * 100_000, headers=headers
        )

    async def _attack_origins(self) -> None:
        malformed = ("http://[", "null", "http://[::1", "\x85", "https://" + "a" * 5000)
        for origin in ("http://evil.example", *malformed):
            for path in ("/login/", "/api/v1/messages", "/auth/login"):
                await self._call(
                    "POST",
                    path,
                    content=b"{}",
                    headers={"Origin": origin.encode("latin-1", "ignore")},
                )

    async def _attack_paths(self) -> None:
        for path in (
            "//evil.example/..%2flogin",
            "/%2fevil.example/",
            "/..%2f..%2fetc/passwd",
            "/login%00",
        ):
            await self._call("GET", path)

    async def _attack_victim(self) -> None:
        resources = ("messages", "connectors", "templates", "keys", "logs", "stats", "members")
        for path in (*resources, "audit"):
            await self._call("GET", f"/api/v1/projects/{self._victim}/{path}")
        await self._call("GET", "/api/v1/messages", params={"projectId": self._victim})
        await self._call("DELETE", f"/api/v1/projects/{self._victim}")

    async def _attack_log_ins(self) -> None:
        for _ in range(12):
            user = {
                "email": self._random.choice([self._email, "nobody@example.com"]),
                "password": "wrong wrong wrong",
            }
            await self._call("POST", "/api/v1/auth/login", json=user)

    async def _attack_slow_bodies(self) -> None:
        host, port = self.base_url.removeprefix("http://").split(":")
        line = "POST /api/v1/auth/login HTTP/1.1"
        head = f"{line}\r\nHost: {host}\r\nContent-Length: 1000\r\n\r\n{{".encode()
        writers = []
        for _ in range(_SLOW_BODIES):
            with contextlib.suppress(OSError, TimeoutError):
                async with asyncio.timeout(2):
                    _, writer = await asyncio.open_connection(
                        host, int(port), local_addr=(_SLOW_SOURCE, 0)
                    )
                writer.write(head)
                writers.append(writer)
        await asyncio.sleep(3)
        for writer in writers:
            writer.close()

    async def _attack_deleted_project(self) -> None:
        answer = await self._call("POST", "/api/v1/projects", json={"name": "short-lived"})
        at = f"/api/v1/projects/{answer.json()['id']}"
        connector = await self._telegram("short-lived", at)
        key = (await self._call("POST", f"{at}/keys", json={"name": "k"})).json()["key"]
        headers = {"Authorization": f"Bearer {key}"}
        for _ in range(5):
            body = {"to": "42", "connectorId": connector, "message": "late"}
            await self._call("POST", "/api/v1/messages", json=body, headers=headers)
        await self._call("DELETE", at)

    async def _attack_flood_of_sends(self) -> None:
        await asyncio.gather(*(self._send() for _ in range(40)))

    async def _attack_callbacks(self) -> None:
        headers = {"content-type": "application/json"}
        for _ in range(5):
            path = f"/api/v1/callbacks/{self._connector}"
            await self._call(
                "POST", path, content=b'{"a":"' + b"x" * 500_000 + b'"}', headers=headers
            )

    async def _attack_socket_as_a_stranger(self) -> None:
        await self._over_socket({}, [("choose_mode", {"mode": "live"}, f"/{MARKER}")])

    async def _attack_socket_with_a_session(self) -> None:
        cookie = {"Cookie": self._cookie}
        events = [
            ("choose_mode", {"mode": "live"}, f"/{MARKER}"),
            ("choose_project", {"project_id": self._victim}, "//evil.example"),
            ("choose_project", {"project_id": MARKER * 100}, "/campaigns?id=" + "x" * 10_000),
            ("nobody_knows_this", {"password": _PASSPHRASE}, "/"),
        ]
        await self._over_socket(cookie, events)

    async def _attack_socket_memory(self) -> None:
        for _ in range(3):
            await self._over_socket({}, [("set_user_name", {"value": "x" * 900_000}, "/")])

    # --- How they are made.

    @property
    def _at(self) -> str:
        return f"/api/v1/projects/{self._project}"

    def _message(self, **fields: Any) -> dict[str, Any]:
        return {"to": "42", "connectorId": self._connector, "message": "hostile", **fields}

    async def _send(self, **fields: Any) -> httpx.Response:
        return await self._call(
            "POST", "/api/v1/messages", json={**self._message(), **fields}, headers=self._key
        )

    async def _campaign(self, **fields: Any) -> httpx.Response:
        body = {
            "name": "c",
            "connectorId": self._connector,
            "message": "Hello {{name}}",
            "csv": _TABLE,
        }
        return await self._call(
            "POST", "/api/v1/campaigns", json={**body, **fields}, headers=self._key
        )

    async def _telegram(self, name: str, at: str = "") -> str:
        credentials = {"botToken": f"666:{'hostile':-<35}"}
        body = {"type": "telegram", "name": name, "credentials": credentials}
        return await self._make_connector(body, at or self._at)

    async def _smtp(self, **credentials: Any) -> str:
        fields = {"port": 9, "security": "none", "fromAddress": "a@example.com", **credentials}
        return await self._make_connector(
            {"type": "smtp", "name": "mail", "credentials": fields}, self._at
        )

    async def _make_connector(self, body: dict[str, Any], at: str) -> str:
        answer = await self._call("POST", f"{at}/connectors", json=body)
        connector_id: str = answer.json().get("id", "")
        return connector_id

    async def _call(self, method: str, path: str, **options: Any) -> httpx.Response:
        answer = await self._client.request(method, path, **options)
        self.report.statuses[answer.status_code] += 1
        if answer.status_code >= 500 and answer.status_code != 503:
            self.report.failures[f"{method} {path[:60]}: {answer.status_code}"] += 1
        self.report.texts.append(answer.text[:20_000])
        return answer

    async def _over_socket(
        self, headers: dict[str, str], events: list[tuple[str, dict[str, Any], str]]
    ) -> None:
        """Send events of the session's State as a tab does, and keep what comes back."""
        token = secrets.token_hex(16)
        client = socketio.AsyncClient(reconnection=False)
        client.on("*", self._hear, namespace="/_event")
        with contextlib.suppress(socketio.exceptions.ConnectionError, asyncio.TimeoutError):
            await client.connect(
                f"{self.base_url}?token={token}",
                headers={"Origin": self.base_url, **headers},
                transports=["websocket"],
                namespaces=["/_event"],
                socketio_path="/_event",
            )
            for name, payload, path in events:
                router = {"pathname": path, "asPath": path, "query": {}}
                event = {
                    "token": token,
                    "name": f"{_STATE}.{name}",
                    "payload": payload,
                    "router_data": router,
                }
                await client.emit("event", event, namespace="/_event")
            await asyncio.sleep(1)
            await client.disconnect()

    async def _hear(self, _event: str, *data: Any) -> None:
        self.report.texts.append(str(data)[:20_000])


async def _main(base_url: str, seconds: float) -> None:
    tenant = HostileTenant(
        base_url, seed=1, victim="proj_01h00000000000000000000000", has_pages=False
    )
    await tenant.enter()
    report = await tenant.rage(seconds)
    print(
        f"attacks: {dict(report.actions)}; answers: {dict(report.statuses)}; failures:"
        f" {dict(report.failures)}"
    )


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1], float(sys.argv[2])))
