"""Liveness and readiness, for people, supervisors and load balancers."""

from __future__ import annotations

from typing import Literal

from fastapi import Response
from pydantic import Field

from backend.api.inputs.bodies import ResponseBody
from backend.api.inputs.dependencies import PlatformDep
from backend.api.resources.routers import api_router
from backend.services.health.readiness import is_ready

router = api_router(tags=["Health"])


class HealthBody(ResponseBody):
    status: Literal["ok"] = "ok"


class CheckBody(ResponseBody):
    status: Literal["ok", "warning", "failed"]
    detail: str = Field(examples=["Postgres answers."])


class Readiness(ResponseBody):
    status: Literal["ok", "unavailable"]
    checks: dict[str, CheckBody]


@router.get("/healthz", summary="Is the process alive?")
async def healthz() -> HealthBody:
    return HealthBody()


@router.get(
    "/readyz",
    summary="Can it do its work?",
    description=(
        "Ready while sends are accepted: writes to Postgres and Redis, and checks the schema, the"
        " secrets, the clock, partitions, workers, the oldest message that is due and background"
        " tasks. What fails makes it 503; a `warning` (Redis down, no worker) is for people. An"
        " answer holds for a second."
    ),
    responses={503: {"model": Readiness, "description": "Something this process needs is down"}},
)
async def readyz(platform: PlatformDep, response: Response) -> Readiness:
    checks = await platform.health.checks()
    ready = is_ready(checks)
    if not ready:
        response.status_code = 503
    return Readiness(
        status="ok" if ready else "unavailable",
        checks={
            name: CheckBody(status=check.status, detail=check.detail)
            for name, check in checks.items()
        },
    )
