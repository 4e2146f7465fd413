"""What anybody may know of this server before logging in: for the log-in page and for clients."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from backend import __version__
from backend.api.inputs.bodies import ResponseBody
from backend.api.inputs.dependencies import PlatformDep
from backend.api.resources.routers import api_router

router = api_router(prefix="/api/v1", tags=["Instance"])


class Instance(ResponseBody):
    version: str = Field(examples=["1.0.0"])
    registration: Literal["open", "invite", "closed"] = Field(description="Who may register")
    mail_enabled: bool = Field(
        description="false: links for resets and invitations are in the server's log"
    )


@router.get("/instance", summary="About this server")
async def get_instance(platform: PlatformDep) -> Instance:
    settings = platform.settings
    return Instance(
        version=__version__, registration=settings.registration, mail_enabled=settings.mail_enabled
    )
