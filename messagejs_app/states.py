"""Where the tabs' states are kept: only for tabs that are there, and dropped when those have
ended.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import reflex as rx
from reflex.istate.manager import StateManager
from reflex.istate.manager.memory import StateManagerMemory
from reflex.istate.manager.redis import StateManagerRedis
from reflex.istate.manager.token import BaseStateToken, StateToken
from reflex_base.registry import RegistrationContext

from messagejs_app.tabs import KEPT_FOR_S

_MORE_THAN_KEPT_S: Final = 60


class TabClosed(Exception):
    """Something still works for a tab that is gone; it ends."""


class TabStates(StateManagerMemory):
    """In memory. `admits` says whether a tab is there: no state is made for another."""

    def __init__(self, admits: Callable[[str], bool]) -> None:
        super().__init__(token_expiration=int(KEPT_FOR_S) + _MORE_THAN_KEPT_S)
        self._admits = admits

    def _get_or_create_state(self, token: StateToken[Any]) -> Any:
        if token.cache_key not in self.states and not self._admits(token.lock_key):
            raise TabClosed
        return super()._get_or_create_state(token)

    def drop(self, key: str) -> bool:
        """Forget the state; False: a handler has it, ask again."""
        lock = self._states_locks.get(key)
        if lock is not None and lock.locked():
            return False
        self._purge_token(BaseStateToken(ident=key, cls=rx.State))
        return True


async def drop_state(states: StateManager, key: str) -> bool:
    """Forget a tab's state; False: it is in use just now."""
    if isinstance(states, TabStates):
        return states.drop(key)
    if isinstance(states, StateManagerRedis):
        token = BaseStateToken(ident=key, cls=rx.State)
        names = [str(token.with_cls(cls)) for cls in RegistrationContext.get().base_states.values()]
        await states.redis.delete(*names)
    return True
