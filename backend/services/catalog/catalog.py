"""What the send path knows by heart: keys, connectors and templates, for a few seconds.

Every process drops a row when it is told of its change (Postgres commit, then pub/sub); the time
to live only bounds how long a lost notice matters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from backend import ids
from backend.crypto import keyed_hash
from backend.errors import (
    ApiKeyExpired,
    ConnectorNotFound,
    InvalidApiKey,
    KeyNotFound,
    MissingApiKey,
    ProjectNotActive,
    ProjectNotFound,
    RouteNotFound,
    TemplateNotFound,
)
from backend.models import ApiKey, Connector, Project, Route, Template
from backend.models.api_key import KeyRow
from backend.models.send_token_secret import SendTokenSecret, Signer
from backend.models.session import Change, Database
from backend.process.cache import ReadThroughCache
from backend.process.group_commit import GroupCommit
from backend.services.access.access import Access, access_of_key
from backend.services.accounts.quiet_hours import QuietHours
from backend.services.templates.render import TemplateSource

_TTL_S: Final = 5.0
_KEY_PREFIXES: Final = ("sk_live_", "sk_test_", "pk_live_", "pk_test_")
# Messages an hour that a plan grants each key; None: no limit.
PLAN_RATE_LIMITS: Final[dict[str, int | None]] = {"free": 1_000, "pro": 10_000, "enterprise": None}


@dataclass(frozen=True, slots=True)
class CatalogKey:
    """A valid key as the send path needs it.

    `rate_limit` is messages an hour, `monthly_quota` its project's a month; None: unlimited.
    """

    id: UUID
    project_id: UUID
    name: str
    kind: str
    mode: str
    scopes: frozenset[str]
    allowed_origins: tuple[str, ...]
    rate_limit: int | None
    monthly_quota: int | None
    expires_at: datetime | None
    quiet_hours: QuietHours | None
    is_project_open: bool = True
    access: Access = field(init=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "access", access_of_key(self))


@dataclass(frozen=True, slots=True)
class CatalogProject:
    """`monthly_quota` is messages a calendar month of the project's plan, None: unlimited.

    `is_open`: it accepts and sends; else it was switched off.
    """

    id: UUID
    monthly_quota: int | None
    quiet_hours: QuietHours | None
    is_open: bool


@dataclass(frozen=True, slots=True)
class CatalogConnector:
    """A connector without its credentials. `weight` is its share of its type's pool, None: in none.

    `is_healthy`: credentials are not refused, and its circuit is closed or due for its probe.
    """

    id: UUID
    project_id: UUID
    type: str
    name: str
    is_active: bool
    weight: int | None = None
    is_healthy: bool = True


@dataclass(frozen=True, slots=True)
class CatalogRoute:
    """A saved route. Each step is {channel} or {connectorId: a UUID}."""

    id: UUID
    project_id: UUID
    name: str
    steps: tuple[Mapping[str, str], ...]
    fallback_after_s: int | None


class Catalog:
    def __init__(
        self,
        database: Database,
        *,
        key_pepper: str,
        default_rate_limit: int | None,
        monthly_quotas: Mapping[str, int | None],
    ) -> None:
        self._database = database
        self._key_pepper = key_pepper
        self._default_rate_limit = default_rate_limit
        self._monthly_quotas = monthly_quotas
        self._callers: GroupCommit[bytes, KeyRow | None] = GroupCommit(
            self._find_callers, name="key-lookup", waiting_limit=10_000
        )
        self._keys = ReadThroughCache(self._load_key, size=20_000, ttl_s=_TTL_S)
        self._connectors = ReadThroughCache(self._load_connector, size=20_000, ttl_s=_TTL_S)
        self._pools = ReadThroughCache(self._load_pool, size=20_000, ttl_s=_TTL_S)
        self._routes = ReadThroughCache(self._load_route, size=20_000, ttl_s=_TTL_S)
        self._projects = ReadThroughCache(self._load_project, size=20_000, ttl_s=_TTL_S)
        self._templates = ReadThroughCache(self._load_template, size=20_000, ttl_s=_TTL_S)
        self._signers = ReadThroughCache(self._load_signer, size=20_000, ttl_s=_TTL_S)
        # Which entries a changed row is in: the cache, and the attribute that holds the row's id.
        self._dependents: dict[str, tuple[tuple[ReadThroughCache[Any, Any], str], ...]] = {
            "key": ((self._keys, "id"), (self._signers, "key_id")),
            "connector": ((self._connectors, "id"),),
            "route": ((self._routes, "id"),),
            "template": ((self._templates, "id"),),
            "project": (
                (self._projects, "id"),
                (self._keys, "project_id"),
                (self._signers, "project_id"),
            ),
        }

    async def key(self, token: str, *, only_reads: bool = False) -> CatalogKey:
        """Return the key of a bearer token. What a stopped project has may still be read.

        Raises MissingApiKey, InvalidApiKey, ApiKeyExpired or ProjectNotActive.
        """
        if not token:
            raise MissingApiKey
        if not token.startswith(_KEY_PREFIXES):
            raise InvalidApiKey(
                "API key is invalid: it starts with sk_live_, sk_test_, pk_live_ or pk_test_."
            )
        key = self._keys.peek(token) or await self._keys.get(token)
        if key.expires_at is not None and key.expires_at <= datetime.now(UTC):
            raise ApiKeyExpired(
                f"API key '{key.name}' expired at {key.expires_at:%Y-%m-%d %H:%M} UTC; create a new"
                " one."
            )
        if not key.is_project_open and not only_reads:
            raise ProjectNotActive
        return key

    def hash_of(self, token: str) -> bytes:
        """Return what the database knows a key's text by."""
        return keyed_hash(self._key_pepper, token)

    def key_of(self, key: ApiKey, project: Project) -> CatalogKey:
        """Return a key as the send path needs it, from its row and its project's."""
        return CatalogKey(
            id=key.id,
            project_id=key.project_id,
            name=key.name,
            kind=key.kind,
            mode=key.mode,
            scopes=frozenset(key.scopes),
            allowed_origins=tuple(key.allowed_origins),
            rate_limit=self.rate_limit_of(key.rate_limit, project.plan),
            monthly_quota=self._monthly_quotas.get(project.plan),
            expires_at=key.expires_at,
            quiet_hours=QuietHours.of(project.quiet_hours),
        )

    async def connector(self, project_id: UUID, connector_id: UUID) -> CatalogConnector:
        key = (project_id, connector_id)
        return self._connectors.peek(key) or await self._connectors.get(key)

    async def pool(self, project_id: UUID, type_: str) -> tuple[CatalogConnector, ...]:
        """Return the connectors of a type's pool, the heaviest first; without a pool, the type's
        default alone.
        """
        key = (project_id, type_)
        return self._pools.peek(key) or await self._pools.get(key)

    async def route(self, project_id: UUID, name: str) -> CatalogRoute:
        """Return a saved route by its name or id; raises RouteNotFound."""
        key = (project_id, name)
        return self._routes.peek(key) or await self._routes.get(key)

    async def template(self, project_id: UUID, template_id: UUID) -> TemplateSource:
        key = (project_id, template_id)
        return self._templates.peek(key) or await self._templates.get(key)

    async def signer(self, kid: str) -> Signer:
        """Return whose send tokens `kid` names; raises KeyNotFound when that is no valid secret
        key.
        """
        return self._signers.peek(kid) or await self._signers.get(kid)

    async def monthly_quota(self, project_id: UUID) -> int | None:
        """Return the messages a calendar month of the project's plan, None: unlimited.

        Raises ProjectNotFound.
        """
        return (await self._projects.get(project_id)).monthly_quota

    async def require_open(self, project_id: UUID) -> None:
        """Raises ProjectNotFound, and ProjectNotActive for a project that was switched off."""
        project = self._projects.peek(project_id) or await self._projects.get(project_id)
        if not project.is_open:
            raise ProjectNotActive

    async def quiet_hours(self, project_id: UUID) -> QuietHours | None:
        """Return when the project does not send. Raises ProjectNotFound."""
        project = self._projects.peek(project_id) or await self._projects.get(project_id)
        return project.quiet_hours

    def rate_limit_of(self, key_limit: int | None, plan: str) -> int | None:
        """Return the messages a window that count for a key: its key_limit limit, the server's, its
        project's plan's.
        """
        return key_limit or self._default_rate_limit or PLAN_RATE_LIMITS.get(plan)

    def forget(self, changes: Iterable[Change]) -> None:
        for change in changes:
            for cache, attribute in self._dependents.get(change.kind, ()):
                cache.forget_with(attribute, change.id)
            if change.kind == "connector":
                # A new or changed one may be in a pool, or the default in place of another.
                self._pools.clear()

    async def _load_key(self, token: str) -> CatalogKey:
        caller = await self._callers.submit(self.hash_of(token))
        if caller is None:
            raise InvalidApiKey
        return CatalogKey(
            id=caller.id,
            project_id=caller.project_id,
            name=caller.name,
            kind=caller.kind,
            mode=caller.mode,
            scopes=frozenset(caller.scopes),
            allowed_origins=tuple(caller.allowed_origins),
            rate_limit=self.rate_limit_of(caller.rate_limit, caller.plan),
            monthly_quota=self._monthly_quotas.get(caller.plan),
            expires_at=caller.expires_at,
            quiet_hours=QuietHours.of(caller.quiet_hours),
            is_project_open=caller.is_project_open,
        )

    async def _find_callers(self, key_hashes: Sequence[bytes]) -> Sequence[KeyRow | None]:
        callers = await ApiKey.callers(self._database.raw, list(key_hashes))
        return [callers.get(key_hash) for key_hash in key_hashes]

    async def _load_connector(self, key: tuple[UUID, UUID]) -> CatalogConnector:
        async with self._database.session() as session:
            connector = await Connector.find(session, *key)
        if connector is None:
            raise ConnectorNotFound
        return _catalog_connector(connector)

    async def _load_pool(self, key: tuple[UUID, str]) -> tuple[CatalogConnector, ...]:
        async with self._database.session() as session:
            members = await Connector.pool(session, *key)
            default = await Connector.find_default(session, *key) if not members else None
        if default is not None:
            members = [default]
        if not members:
            raise ConnectorNotFound(
                f"The project has no connector of type '{key[1]}'; add one, or name another in"
                ' "connector".'
            )
        return tuple(_catalog_connector(member) for member in members)

    async def _load_route(self, key: tuple[UUID, str]) -> CatalogRoute:
        project_id, name = key
        route_id = ids.decode(ids.ROUTE, name)
        async with self._database.session() as session:
            if route_id is not None:
                route = await Route.find(session, project_id, route_id)
            else:
                route = await Route.find_named(session, project_id, name)
        if route is None:
            raise RouteNotFound(
                f"There is no route '{name[:100]}' in this project; save it, or name another."
            )
        return CatalogRoute(
            route.id, project_id, route.name, tuple(route.steps), route.fallback_after_s
        )

    async def _load_project(self, project_id: UUID) -> CatalogProject:
        async with self._database.session() as session:
            result = await Project.find_open(session, project_id)
        if result is None:
            raise ProjectNotFound
        project, is_open = result
        quota = self._monthly_quotas.get(project.plan)
        return CatalogProject(project.id, quota, QuietHours.of(project.quiet_hours), is_open)

    async def _load_signer(self, kid: str) -> Signer:
        signer = await SendTokenSecret.signer(self._database.raw, kid)
        if signer is None:
            raise KeyNotFound
        return signer

    async def _load_template(self, key: tuple[UUID, UUID]) -> TemplateSource:
        async with self._database.session() as session:
            template = await Template.find(session, *key)
        if template is None:
            raise TemplateNotFound
        return TemplateSource.of(template)


def _catalog_connector(connector: Connector) -> CatalogConnector:
    return CatalogConnector(
        id=connector.id,
        project_id=connector.project_id,
        type=connector.type,
        name=connector.name,
        is_active=connector.is_active,
        weight=connector.weight,
        is_healthy=connector.is_healthy,
    )
