"""Shares: who answers may take every place, who doesn't keeps none from the others."""

from __future__ import annotations

from typing import Final

from backend.dispatch.shares import SLOW_S, Shares
from backend.ids import new_id

PLACES: Final = 20
NOW: Final = 1000.0


def test_an_owner_that_never_answered_gets_a_quarter() -> None:
    shares, owner_id = Shares(PLACES), new_id()
    assert shares.room_of(owner_id, NOW) == 5
    for _ in range(5):
        shares.start(owner_id, NOW)
    assert shares.room_of(owner_id, NOW) == 0
    assert shares.room(NOW) == 15


def test_an_owner_that_answers_quickly_may_take_every_place_until_it_is_slow() -> None:
    shares, owner_id = Shares(PLACES), new_id()
    shares.start(owner_id, NOW)
    shares.heard(owner_id, NOW, 0.05, is_failure=False)
    assert shares.room_of(owner_id, NOW) == PLACES - 1
    # Something is under way, and nothing was heard for longer than an exchange should take.
    later = NOW + SLOW_S + 0.1
    assert shares.room_of(owner_id, later) == 4
    shares.heard(owner_id, later, 2 * SLOW_S, is_failure=False)
    shares.end(owner_id)
    # On average it is quick still: 0.05 s, and a fifth of what the last one took beyond that.
    assert shares.room_of(owner_id, later) == PLACES


def test_an_owner_that_fails_is_unknown_again() -> None:
    shares, owner_id = Shares(PLACES), new_id()
    shares.start(owner_id, NOW)
    shares.heard(owner_id, NOW, 0.05, is_failure=False)
    shares.heard(owner_id, NOW, 0.05, is_failure=True)
    shares.end(owner_id)
    assert shares.room_of(owner_id, NOW) == 5


def test_places_that_slow_owners_hold_beyond_half_are_not_counted() -> None:
    shares = Shares(PLACES)
    for owner_id in [new_id() for _ in range(4)]:
        for _ in range(5):
            shares.start(owner_id, NOW)
    assert shares.room(NOW) == 0
    assert shares.room(NOW + SLOW_S + 0.1) == PLACES - PLACES // 2
