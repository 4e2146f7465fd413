"""What schemathesis finds wrong between the OpenAPI document and the answers: nothing, for every
kind of caller.
"""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from tests.api.accounts import Api
from tests.api.fuzzing import (
    CALLERS,
    CHAINED,
    EXAMPLES,
    FOR_ADMINISTRATORS,
    PATIENCE_S,
    REFUSED,
    RESOURCES,
    SHORT_RUN,
    Caller,
    Run,
    app,
    callers,
    run,
)

__all__ = ["app", "callers"]

RUNS = [
    # The rest of the owner's is in test_schemathesis_resources.py, for another worker.
    Run("owner", without=RESOURCES),
    Run("administrator", only=FOR_ADMINISTRATORS),
    Run("key"),
    *(Run(caller, REFUSED) for caller in ("viewer", "nobody")),
    *(Run(caller, CHAINED) for caller in ("owner", "key")),
    # A chain of who may change nothing is short.
    *(Run(caller, CHAINED) for caller in ("viewer", "nobody") if EXAMPLES > SHORT_RUN),
]


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("selected", [item for item in RUNS if item.caller in CALLERS], ids=str)
async def test_schemathesis_finds_nothing(
    api: Api, app: FastAPI, callers: dict[str, Caller], selected: Run
) -> None:
    await run(api, app, callers[selected.caller], selected)
