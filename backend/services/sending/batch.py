"""Many messages in one request: each is accepted or refused by itself; they share group commits."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from backend.errors import AppError
from backend.ledger.idempotency import IdempotencyKey
from backend.process.unexpected import as_app_error
from backend.services.access.access import Action
from backend.services.policy.request import SendRequest
from backend.services.sending.accept import Acceptance, accept_message

if TYPE_CHECKING:
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender

# Leaves room for "#499" in the column.
_LONGEST_KEY: Final = 250


async def accept_batch(
    path: SendPath,
    sender: Sender,
    requests: Sequence[Callable[[], SendRequest]],
    *,
    idempotency: IdempotencyKey | None = None,
) -> list[Acceptance | AppError]:
    """Return the acceptance or the error of each, in order.

    An error of one request or its message concerns only that one. Under an Idempotency-Key a repeat
    gets the original answers.

    Raises KeyScope if the sender may not send, IdempotencyConflict if the key was used for another
    batch, and the error itself if limits or a full queue kept all messages from being accepted.
    """
    sender.access.require(Action.SEND_MESSAGES)
    keys = [_item_key(idempotency, index) for index in range(len(requests))]
    if idempotency is not None:
        await path.writer.check_keys(sender.project_id, [key for key in keys if key is not None])
    results = await asyncio.gather(
        *(
            _accept_one(path, sender, request, key)
            for request, key in zip(requests, keys, strict=True)
        )
    )
    errors = [result for result in results if isinstance(result, AppError)]
    if len(errors) == len(results) and all(error.status in {429, 503} for error in errors):
        raise errors[0]
    if sender.key is not None:
        for _ in errors:
            path.key_usage.note(sender.key.id, is_failed=True)
    return results


async def _accept_one(
    path: SendPath,
    sender: Sender,
    request: Callable[[], SendRequest],
    idempotency: IdempotencyKey | None,
) -> Acceptance | AppError:
    try:
        return await accept_message(path, sender, request(), idempotency=idempotency)
    except Exception as exc:  # noqa: BLE001 (whatever it is, the others answer for themselves)
        return as_app_error(exc)


def _item_key(batch: IdempotencyKey | None, index: int) -> IdempotencyKey | None:
    if batch is None:
        return None
    name = (
        batch.key
        if len(batch.key) <= _LONGEST_KEY
        else hashlib.sha256(batch.key.encode()).hexdigest()
    )
    return IdempotencyKey(batch.route, f"{name}#{index}", batch.request_hash)
