"""Step 3: the ways a send may go: a connector, a pool of one type, or a chain of channels with a
fallback.

The first way is taken at once, the others wait in the message's route for what they answer (`on`).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Literal
from uuid import UUID

from backend.errors import (
    AppError,
    ConnectorNotActive,
    ConnectorNotFound,
    FieldError,
    InvalidConnectorType,
    InvalidTo,
    ValidationFailed,
)
from backend.models import Suppression
from backend.provider_types import SANDBOX
from backend.services.routing.catalog import CatalogConnector, CatalogRoute
from backend.services.routing.recipients import (
    given_recipient,
    known_provider,
    normalised_recipient,
)
from backend.services.templates.channels import channel_names, channel_of, type_of_channel

if TYPE_CHECKING:
    from backend.platform import Platform
    from backend.services.policy.caller import Caller
    from backend.services.sending.compose import SendRequest
    from backend.services.templates.render import TemplateSource

_DIGEST_VALUES: Final = 2**64


@dataclass(frozen=True, slots=True)
class Way:
    """`recipient` is in its channel's form, "" when the request names nobody (a look before
    sending).

    A way on `failure` follows any failure of the one before; one on `unavailable`, another
    connector of the same pool, only when the connector before it cannot be used.
    """

    connector: CatalogConnector
    recipient: str
    on: Literal["failure", "unavailable"] = "failure"


@dataclass(frozen=True, slots=True)
class Ways:
    """At least one, in order.

    `fallback_after_s`: how long one may take to deliver before the next is tried.
    """

    steps: Sequence[Way]
    fallback_after_s: int | None = None


async def find_ways(
    platform: Platform, caller: Caller, request: SendRequest, template: TemplateSource | None
) -> Ways:
    """Raises the AppError that says which connector, channel or recipient is missing or wrong."""
    if request.channels is not None:
        steps = [{"channel": channel} for channel in request.channels]
        return await _chain(platform, caller, request, steps, request.fallback_after_s)
    if request.route is not None:
        route = await platform.catalog.route(caller.project_id, request.route)
        return await _saved(platform, caller, request, route)
    if request.connector_id is not None:
        connector = await platform.catalog.connector(caller.project_id, request.connector_id)
        if caller.mode == "test" and connector.type != SANDBOX:
            return Ways([await _sandbox(platform, caller, request, connector.type)])
        return Ways([Way(active(connector), _recipient(request, connector.type))])
    type_ = request.connector_type or (template.connector_type if template is not None else None)
    if type_ is None:
        remedy = 'Name a "connectorId", a "connector" type such as "smtp", or "channels".'
        raise ValidationFailed(errors=[FieldError("connectorId", "MISSING_REQUIRED_FIELD", remedy)])
    return await _of_type(platform, caller, request, type_)


async def _of_type(platform: Platform, caller: Caller, request: SendRequest, type_: str) -> Ways:
    known_provider(type_)  # an unknown type is named as such, not as "no connector"
    if caller.mode == "test":
        return Ways([await _sandbox(platform, caller, request, type_)])
    pool = await platform.catalog.pool(caller.project_id, type_)
    recipient = _recipient(request, type_)
    if len(pool) == 1:
        return Ways([Way(active(pool[0]), recipient)])
    return Ways(_of_step(spread(pool, recipient), recipient))


def active(connector: CatalogConnector) -> CatalogConnector:
    """Raises ConnectorNotActive."""
    if not connector.is_active:
        raise ConnectorNotActive(
            f"Connector '{connector.name}' is not active; activate it or name another."
        )
    return connector


def spread(pool: Sequence[CatalogConnector], recipient: str) -> list[CatalogConnector]:
    """Return the pool in the order in which it is tried: first by weight, the others the heaviest
    first.

    The same recipient gets the same connector, and so the same sender, as long as that is healthy;
    a change of weights moves as few recipients as it can. Source: weighted rendezvous hashing
    (Thaler, Ravishankar 1998).
    """
    healthy = [member for member in pool if member.is_healthy] or list(pool)
    first = max(healthy, key=lambda member: _score(member, recipient))
    return [first, *(member for member in pool if member is not first)]


def _score(member: CatalogConnector, recipient: str) -> float:
    if not member.weight:
        return -math.inf
    digest = hashlib.blake2b(recipient.encode(), key=member.id.bytes, digest_size=8).digest()
    return math.log((int.from_bytes(digest) + 1) / (_DIGEST_VALUES + 1)) / member.weight


async def _sandbox(
    platform: Platform, caller: Caller, request: SendRequest, named_type: str
) -> Way:
    """A test key reaches nothing else.

    Its recipient is the sandbox's own, or that of the channel it plays.
    """
    try:
        connector = active((await platform.catalog.pool(caller.project_id, SANDBOX))[0])
    except ConnectorNotFound as exc:
        raise ConnectorNotFound(
            "A test key sends to the Sandbox only, and this project has no Sandbox connector; add"
            " one."
        ) from exc
    type_ = SANDBOX if SANDBOX in (request.recipients or ()) else named_type
    to = given_recipient(request, type_)
    return Way(connector, normalised_recipient(SANDBOX, to) if to else "")


def _recipient(request: SendRequest, connector_type: str) -> str:
    to = given_recipient(request, connector_type)
    return normalised_recipient(connector_type, to) if to else ""


async def _saved(
    platform: Platform, caller: Caller, request: SendRequest, route: CatalogRoute
) -> Ways:
    """Steps whose connector has been deleted since are passed over."""
    steps, gone = [], None
    for step in route.steps:
        if "connectorId" in step:
            try:
                await platform.catalog.connector(caller.project_id, UUID(step["connectorId"]))
            except ConnectorNotFound as exc:
                gone = exc
                continue
        steps.append(step)
    if not steps:
        raise ConnectorNotFound(
            f"The connectors of route '{route.name}' have been deleted; give it others."
        ) from gone
    seconds = (
        request.fallback_after_s if request.fallback_after_s is not None else route.fallback_after_s
    )
    return await _chain(platform, caller, request, steps, seconds)


async def _chain(
    platform: Platform,
    caller: Caller,
    request: SendRequest,
    steps: Sequence[Mapping[str, str]],
    fallback_after_s: int | None,
) -> Ways:
    """Ways whose connector is not active are passed over, as long as there is another."""
    pools = [await _pool_of(platform, caller, step) for step in steps]
    types = [type_ for type_, _ in pools]
    if caller.mode == "test":
        for type_ in types:
            given_recipient(request, type_)
        return Ways([await _sandbox(platform, caller, request, types[0])])
    ways: list[Way] = []
    for type_, pool in pools:
        recipient = _recipient_in_chain(request, type_)
        taken = {way.connector.id for way in ways}
        usable = [member for member in pool if member.is_active and member.id not in taken]
        if usable:
            ways += _of_step(spread(usable, recipient), recipient)
    if not ways:
        active(pools[0][1][0])
    return Ways(ways, fallback_after_s if len(ways) > 1 else None)


async def _pool_of(
    platform: Platform, caller: Caller, step: Mapping[str, str]
) -> tuple[str, Sequence[CatalogConnector]]:
    """Return the connector type of a step, and which connectors it stands for (none with a test
    key).
    """
    if "connectorId" in step:
        connector = await platform.catalog.connector(caller.project_id, UUID(step["connectorId"]))
        return connector.type, [connector]
    channel = step["channel"]
    type_ = known_channel(channel)
    if caller.mode == "test":
        return type_, []
    try:
        return type_, await platform.catalog.pool(caller.project_id, type_)
    except ConnectorNotFound as exc:
        message = (
            f"The channel '{channel}' has no connector of type '{type_}' in this project; add one."
        )
        raise ConnectorNotFound(
            message, errors=[FieldError("channels", ConnectorNotFound.code, message)]
        ) from exc


def known_channel(channel: str, field: str = "channels") -> str:
    """Return the connector type of a channel; raises InvalidConnectorType, which lists the channels
    there are.
    """
    names = channel_names()
    if channel not in names:
        message = f"'{channel[:50]}' is not a channel; use one of: {', '.join(names)}."
        raise InvalidConnectorType(
            message, errors=[FieldError(field, InvalidConnectorType.code, message)]
        )
    return type_of_channel(channel)


def _recipient_in_chain(request: SendRequest, connector_type: str) -> str:
    try:
        return _recipient(request, connector_type)
    except InvalidTo as exc:
        if request.recipients is not None:
            raise
        raise _unfit(exc, channel_of(connector_type)) from exc


def _unfit(error: AppError, channel: str) -> AppError:
    remedy = (
        f"The channel '{channel}' cannot have it; write \"to\" as an object, with one address for"
        " each kind."
    )
    message = f"{error.message} {remedy}"
    return type(error)(message, errors=[FieldError("to", error.code, message)])


def _of_step(members: Sequence[CatalogConnector], recipient: str) -> list[Way]:
    first, *others = members
    return [Way(first, recipient), *(Way(other, recipient, "unavailable") for other in others)]


async def first_usable(
    platform: Platform, project_id: UUID, steps: Sequence[Mapping[str, Any]]
) -> list[Mapping[str, Any]]:
    """Return a stored route's steps whose connectors are still there and active, from the first
    that is not suppressed.

    Raises ConnectorNotFound or ConnectorNotActive when no step is left.
    """
    kept: list[Mapping[str, Any]] = []
    problem: AppError | None = None
    on = "unavailable"
    for step in steps:
        # The next member of a pool whose first has gone answers what that one would have.
        on = "failure" if "failure" in {on, step["on"]} else on
        try:
            active(await platform.catalog.connector(project_id, UUID(step["connectorId"])))
        except (ConnectorNotFound, ConnectorNotActive) as exc:
            problem = problem or exc
        else:
            kept.append({**step, "on": on})
            on = "unavailable"
    if problem is not None and not kept:
        raise problem
    return kept[
        await _suppressed(
            platform, project_id, [(s["connectorType"], s["recipient"]) for s in kept]
        ) :
    ]


async def without_suppressed(platform: Platform, project_id: UUID, ways: Ways) -> Ways:
    """Begin at the first way whose recipient may be sent to.

    Where there is none, nothing changes.
    """
    skipped = await _suppressed(
        platform, project_id, [(way.connector.type, way.recipient) for way in ways.steps]
    )
    return replace(ways, steps=ways.steps[skipped:]) if skipped else ways


async def _suppressed(
    platform: Platform, project_id: UUID, addresses: Sequence[tuple[str, str]]
) -> int:
    """Return how many (channel, recipient) at the front must not be sent to, 0 when that is all of
    them.
    """
    distinct = set(addresses)
    if len(distinct) == 1:
        return 0  # a pool: the writer refuses its one recipient by itself
    async with platform.database.session() as session:
        suppressed = await Suppression.find_many(session, project_id, distinct)
    open_ones = (index for index, address in enumerate(addresses) if address not in suppressed)
    return next(open_ones, 0)
