"""Claims, leases and statuses against a real Postgres, in whatever order hypothesis thinks of.

Two workers claim, send and record; leases run out at any point; messages are called off; providers
take what they get, refuse it, or are cut off. Whatever the order: nothing accepted is lost, one
worker at a time holds a message, no status goes back, and what is not to be repeated blindly
reaches the provider once.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar
from uuid import UUID

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from backend.dispatch.retry import RetryPolicy
from backend.errors import MessageNotCancelable
from backend.ledger.claims import Claim, Claims
from backend.ledger.recorder import Recorder
from backend.ledger.results import Result
from backend.models.base import utc_now
from backend.platform import Platform
from backend.providers.frame.errors import OutcomeUnknown, Rejected, SendError, Unavailable
from backend.providers.frame.provider import Accepted
from backend.services.access.access import system_access
from backend.services.delivery import next_step, outcomes
from backend.services.delivery.open_connectors import OpenConnectors
from backend.services.delivery.sweeper import Sweeper
from backend.services.messages.actions import cancel_message
from backend.services.policy.request import SendRequest
from backend.settings import Settings
from backend.status import RANK, Status
from tests.world import World

T = TypeVar("T")

TOKEN: Final = {"botToken": "123456:test-token-0123456789abcdefghijklm"}
POLICY: Final = RetryPolicy(max_attempts=4, base_s=0.0, cap_s=0.0, max_age_s=3600)
# (does the provider have it, what the worker sees)
ENDS: Final[dict[str, tuple[bool, SendError | None]]] = {
    "accepted": (True, None),
    "rejected": (False, Rejected("no such chat", code="chat_not_found")),
    "unavailable": (False, Unavailable("busy")),
    "cut off, taken": (True, OutcomeUnknown("reset")),
    "cut off, not taken": (False, OutcomeUnknown("reset")),
}


class OwnLoop:
    """An event loop in a thread: hypothesis calls rules synchronously."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(20)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(5)
        self._loop.close()


@dataclass
class Known:
    """What the model knows of a message; `handed` counts how often the provider got it."""

    id: UUID
    may_repeat: bool
    handed: int = 0
    rank: int = 0


@dataclass
class Held:
    """A claim in some worker's hands; `is_lost` once its lease has been swept away."""

    claim: Claim
    is_in_flight: bool = False
    is_lost: bool = False


class Stage:
    """What all examples share: the loop, the platform and the parts under test."""

    def __init__(self, configured: Settings) -> None:
        self.loop = OwnLoop()
        self.platform = self.loop.run(Platform.open(configured))
        pool = self.platform.database.raw
        self.claims = [Claims(pool, lease_s=60), Claims(pool, lease_s=60)]
        self.recorder = Recorder(pool, self.platform.doorbell)
        self.sweeper = Sweeper(pool, self.platform.doorbell, settle_s=0.0, max_age_s=3600)
        self.accounts = OpenConnectors(
            self.platform.database, self.platform.vault, self.platform.providers
        )

    def close(self) -> None:
        self.loop.run(self.accounts.close())
        self.loop.run(self.platform.close())
        self.loop.close()


class Delivery(RuleBasedStateMachine):
    stage: Stage

    def __init__(self) -> None:
        super().__init__()
        self.world = self._run(World.make(self.stage.platform))
        self.connectors = [self._run(self.world.connector("telegram", TOKEN)).id for _ in range(2)]
        self.templates = {
            policy: (
                self._run(
                    self.world.template("hi", variables=[], name=policy, on_uncertain=policy)
                ).id
            )
            for policy in ("hold", "resend")
        }
        self.messages: dict[UUID, Known] = {}
        self.held: list[Held] = []

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.stage.loop.run(work)

    async def _fetch(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        async with self.stage.platform.database.raw.connection() as connection:
            cursor = await connection.execute(statement, values)
            return await cursor.fetchall() if cursor.description else []

    # -- what happens
    # --------------------------------------------------------------------------------

    @rule(policy=st.sampled_from(["hold", "resend"]), is_routed=st.booleans())
    def accept(self, policy: str, is_routed: bool) -> None:
        first, second = self.connectors
        request = SendRequest(to="42", template_id=self.templates[policy], connector_id=first)
        message_id = self._run(self.world.send(request)).message_id
        if is_routed:
            self._run(self._give_a_second_way(message_id, second))
        self.messages[message_id] = Known(message_id, may_repeat=policy == "resend")

    async def _give_a_second_way(self, message_id: UUID, second: UUID) -> None:
        await self._fetch(
            "UPDATE messages SET route = jsonb_build_object('fallbackAfterS', NULL, 'steps',"
            " jsonb_build_array(jsonb_build_object('connectorId', connector_id, 'connectorType',"
            " connector_type, 'recipient', recipient, 'content', content, 'on', 'failure'),"
            " jsonb_build_object('connectorId', %s::uuid, 'connectorType', connector_type,"
            " 'recipient', recipient, 'content', content, 'on', 'failure'))) WHERE id = %s",
            second,
            message_id,
        )
        await self._fetch("UPDATE send_queue SET has_next = true WHERE message_id = %s", message_id)

    @rule(worker=st.integers(0, 1), most=st.integers(1, 3))
    def claim(self, worker: int, most: int) -> None:
        turns = [(1, connector_id) for connector_id in self.connectors]
        for claim in self._run(self.stage.claims[worker].take(turns, most)):
            holders = [
                held
                for held in self.held
                if held.claim.message_id == claim.message_id and not held.is_lost
            ]
            assert not holders, "two workers hold one message"
            self.held.append(Held(claim))

    @precondition(lambda self: any(not held.is_in_flight for held in self.held))
    @rule(data=st.data())
    def begin(self, data: st.DataObject) -> None:
        held = self._pick(data, [held for held in self.held if not held.is_in_flight])
        mine = self._run(self.stage.claims[0].mark_in_flight([held.claim]))
        assert (held.claim.message_id in mine) is not held.is_lost
        held.is_in_flight = True
        if held.is_lost:
            self.held.remove(held)

    @precondition(lambda self: any(not held.is_in_flight for held in self.held))
    @rule(data=st.data())
    def give_back(self, data: st.DataObject) -> None:
        held = self._pick(data, [held for held in self.held if not held.is_in_flight])
        self._run(self.stage.claims[1].release([held.claim]))
        self.held.remove(held)

    @precondition(lambda self: any(held.is_in_flight for held in self.held))
    @rule(data=st.data(), end=st.sampled_from(sorted(ENDS)))
    def finish(self, data: st.DataObject, end: str) -> None:
        """A worker whose lease was swept away meanwhile has sent too: it could not know."""
        held = self._pick(data, [held for held in self.held if held.is_in_flight])
        self._end(held, end)

    @precondition(lambda self: any(not held.is_lost for held in self.held))
    @rule(data=st.data())
    def lose_the_lease(self, data: st.DataObject) -> None:
        held = self._pick(data, [held for held in self.held if not held.is_lost])
        expire = (
            "UPDATE send_queue SET lease_until = now() - interval '1 second' WHERE message_id = %s"
        )
        self._run(self._fetch(expire, held.claim.message_id))
        self._run(self.stage.sweeper.sweep())
        held.is_lost = True

    @precondition(lambda self: self.messages)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        message_id = data.draw(st.sampled_from(sorted(self.messages)))
        is_held = any(
            held.claim.message_id == message_id and not held.is_lost for held in self.held
        )
        if self._run(self._cancel(message_id)):
            assert not is_held, "canceled under a worker's hands"
            assert not self.messages[message_id].handed

    async def _cancel(self, message_id: UUID) -> bool:
        try:
            async with self.stage.platform.database.transaction() as session:
                await cancel_message(
                    session, system_access(self.world.project_id), message_id=message_id
                )
        except MessageNotCancelable:
            return False
        return True

    # -- what must hold
    # ------------------------------------------------------------------------------

    @invariant()
    def nothing_is_lost_repeated_or_taken_back(self) -> None:
        rows = self._run(
            self._fetch(
                "SELECT m.id, m.status, q.state FROM messages m LEFT JOIN send_queue q ON"
                " q.message_id = m.id WHERE m.project_id = %s",
                self.world.project_id,
            )
        )
        assert len(rows) == len(self.messages)
        for message_id, status, state in rows:
            known = self.messages[message_id]
            rank = RANK[Status(status)]
            assert rank >= known.rank, f"'{status}' after a higher one"
            known.rank = rank
            if status in {Status.QUEUED, Status.SCHEDULED}:
                assert state is not None, "waits, and nobody will ever send it"
            if status in {Status.CANCELED, Status.FAILED}:
                assert state is None, f"'{status}', and still to be sent"
            if status == Status.SENT:
                assert known.handed, "'sent', and no provider has it"
            assert known.handed <= 1 or known.may_repeat, "handed over twice"

    def teardown(self) -> None:
        """Whatever was left half done, a healthy worker brings everything to its end."""
        for held in [held for held in self.held if not held.is_lost]:
            self._run(
                self._fetch(
                    "UPDATE send_queue SET lease_until = now() WHERE message_id = %s",
                    held.claim.message_id,
                )
            )
        self._run(self.stage.sweeper.sweep())
        self.held = []
        for _ in range(20):
            turns = [(1, connector_id) for connector_id in self.connectors]
            claims = self._run(self.stage.claims[0].take(turns, 100))
            if not claims:
                break
            self._run(self.stage.claims[0].mark_in_flight(claims))
            for claim in claims:
                self._end(Held(claim, is_in_flight=True), "accepted")
        self.nothing_is_lost_repeated_or_taken_back()
        left = self._run(
            self._fetch("SELECT 1 FROM send_queue WHERE project_id = %s", self.world.project_id)
        )
        assert not left

    # -- hands
    # ---------------------------------------------------------------------------------------

    def _end(self, held: Held, end: str) -> None:
        is_taken, error = ENDS[end]
        claim = held.claim
        if is_taken:
            self.messages[claim.message_id].handed += 1
        account = self._run(self.stage.accounts.get(claim.connector_id))
        now = utc_now()
        result: Result = (
            outcomes.accepted(
                claim, Accepted(f"p-{claim.message_id}-{claim.attempt_number}"), now, 1.0
            )
            if error is None
            else outcomes.failed(claim, error, POLICY, now, 1.0)
        )
        result = next_step.after_try(replace(result, suppress=False), account, settle_s=0.0)
        recorded = self._run(self.stage.recorder.record(result))
        assert recorded.is_ours is not held.is_lost
        if held in self.held:
            self.held.remove(held)

    @staticmethod
    def _pick(data: st.DataObject, choices: list[Held]) -> Held:
        return choices[data.draw(st.integers(0, len(choices) - 1))]


@pytest.fixture
def stage(settings: Settings) -> Iterator[Stage]:
    stage = Stage(settings)
    yield stage
    stage.close()


@pytest.mark.timeout(120)
def test_claims_leases_and_statuses_hold_in_any_order(stage: Stage) -> None:
    machine = type("DeliveryOnStage", (Delivery,), {"stage": stage})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=20,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        ),
    )
