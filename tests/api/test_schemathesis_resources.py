"""The owner's run with schemathesis on what a project has: half of it, so that two workers share
it.
"""

from __future__ import annotations

import pytest
from fastapi import FastAPI

from tests.api.accounts import Api
from tests.api.fuzzing import CALLERS, PATIENCE_S, RESOURCES, Caller, Run, app, callers, run

__all__ = ["app", "callers"]


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.skipif("owner" not in CALLERS, reason="MESSAGEJS_FUZZ_CALLERS leaves the owner out")
async def test_schemathesis_finds_nothing_in_what_a_project_has(
    api: Api, app: FastAPI, callers: dict[str, Caller]
) -> None:
    await run(api, app, callers["owner"], Run("owner", only=RESOURCES))
