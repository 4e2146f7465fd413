"""The upload of a campaign: a file in a form, spooled to disk, or a table in JSON."""

from __future__ import annotations

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, Final

from fastapi import Request
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException

from backend import ids
from backend.api.resources.campaigns.bodies import CampaignFields, CampaignUpload
from backend.api.resources.messages.requests import body_hash, checked_metadata, parse
from backend.errors import (
    BadRequest,
    ConnectorNotFound,
    FieldError,
    PayloadTooLarge,
    TemplateNotFound,
    UnsupportedMediaType,
    ValidationFailed,
)
from backend.services.campaigns.plan import CampaignPlan

PATH: Final = "/api/v1/campaigns"
_FORM: Final = "multipart/form-data"
_JSON: Final = "application/json"
_CHUNK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Upload:
    """`request_hash` tells a repeat from another upload under the same Idempotency-Key."""

    fields: CampaignFields
    file: BinaryIO
    request_hash: bytes


def check_media_type(request: Request) -> str:
    """Raises UnsupportedMediaType."""
    content_type = request.headers.get("content-type", "")
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type not in {_JSON, _FORM}:
        raise UnsupportedMediaType(
            f"'{content_type[:80]}' is not read here; send 'multipart/form-data' with a file, or"
            " 'application/json'."
        )
    return media_type


@asynccontextmanager
async def read_upload(request: Request, *, json_limit_bytes: int) -> AsyncIterator[Upload]:
    """Raises UnsupportedMediaType, PayloadTooLarge, MalformedBody or ValidationFailed."""
    if check_media_type(request) == _JSON:
        body = await _limited(request, json_limit_bytes)
        upload = parse(CampaignUpload, body)
        yield Upload(upload, io.BytesIO(upload.csv.encode()), body_hash(body))
        return
    async with _form(request, json_limit_bytes) as (fields, file, digest):
        yield Upload(fields, file, digest)


async def _limited(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise PayloadTooLarge(
                f"JSON may have {limit} bytes here; send a larger table as multipart/form-data."
            )
    return bytes(body)


@asynccontextmanager
async def _form(
    request: Request, json_limit_bytes: int
) -> AsyncIterator[tuple[CampaignFields, BinaryIO, bytes]]:
    try:
        form = await request.form(max_files=2, max_fields=2, max_part_size=json_limit_bytes)
    except (HTTPException, MultiPartException) as exc:
        if isinstance(exc, HTTPException) and exc.status_code != 400:
            raise
        raise BadRequest(
            'The form cannot be read; send the parts "file" and "campaign" as multipart/form-data.',
            errors=[
                FieldError(
                    "body", "VALIDATION_ERROR", "Check the boundary and the names of the parts."
                )
            ],
        ) from exc
    try:
        file, campaign = form.get("file"), form.get("campaign")
        if not isinstance(file, UploadFile):
            raise _missing("file", "the table as a CSV file")
        if campaign is None:
            raise _missing("campaign", "everything else as JSON")
        text = (
            (await campaign.read(json_limit_bytes))
            if isinstance(campaign, UploadFile)
            else campaign.encode()
        )
        fields = parse(CampaignFields, text)
        digest = await asyncio.to_thread(_hash_of, file.file, body_hash(text))
        yield fields, file.file, digest
    finally:
        await form.close()


def _hash_of(file: BinaryIO, start: bytes) -> bytes:
    digest = hashlib.sha256(start)
    while chunk := file.read(_CHUNK_BYTES):
        digest.update(chunk)
    file.seek(0)
    return digest.digest()


def _missing(part: str, what: str) -> ValidationFailed:
    message = f"The form has no part '{part}'; add {what}."
    return ValidationFailed(errors=[FieldError(part, "MISSING_REQUIRED_FIELD", message)])


def plan_of(fields: CampaignFields, columns: list[str]) -> CampaignPlan:
    """Return what the campaign sends, as far as the upload says.

    Raises what is wrong with ids and with fields that exclude each other.
    """
    template_id = connector_id = None
    if fields.template_id is not None:
        template_id = ids.decode(ids.TEMPLATE, fields.template_id)
        if template_id is None:
            raise TemplateNotFound(f"There is no template '{fields.template_id}' in this project.")
        if fields.message is not None:
            raise _excluded(
                "A campaign has a template or a text, not both.", "message", "templateId"
            )
    if fields.connector_id is not None:
        connector_id = ids.decode(ids.CONNECTOR, fields.connector_id)
        if connector_id is None:
            raise ConnectorNotFound(
                f"There is no connector '{fields.connector_id}' in this project."
            )
        if fields.connector is not None:
            raise _excluded("A campaign goes through one connector.", "connector", "connectorId")
    return CampaignPlan(
        columns=columns,
        mapping=fields.mapping or {},
        connector_id=connector_id,
        connector_type=fields.connector,
        template_id=template_id,
        message=fields.message,
        subject=fields.subject,
        html=fields.html,
        priority=fields.priority,
        metadata=checked_metadata(fields.metadata),
        expires_at=fields.expires_at,
    )


def _excluded(message: str, field: str, other: str) -> BadRequest:
    remedy = f'Leave out "{field}" or "{other}".'
    return BadRequest(message, errors=[FieldError(field, "VALIDATION_ERROR", remedy)])
