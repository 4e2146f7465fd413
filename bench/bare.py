"""The bare route: the framework, body and answer of a send, and nothing behind them."""

from __future__ import annotations

from fastapi import FastAPI
from pydantic import BaseModel

from backend.api.resources.messages.send_bodies import SendBody


class Answer(BaseModel):
    messageId: str  # noqa: N815 (the wire's name)
    status: str


def create_app() -> FastAPI:
    app = FastAPI()

    @app.post("/messages", status_code=202)
    async def send(body: SendBody) -> Answer:
        return Answer(messageId=f"msg_{body.to}", status="queued")

    return app
