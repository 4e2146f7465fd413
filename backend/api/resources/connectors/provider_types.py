"""Which connector types there are, and what each needs: the dashboard's forms are made of this."""

from __future__ import annotations

from backend.api.inputs.access import CurrentRequester
from backend.api.openapi.document import error_responses
from backend.api.resources.connectors.bodies import ConnectorTypeBody, ConnectorTypeListBody
from backend.api.resources.routers import api_router
from backend.provider_types import describe_connector_types

router = api_router(prefix="/api/v1/connector-types", tags=["Connectors"])


@router.get("", summary="List connector types", responses=error_responses(401))
async def list_connector_types(_: CurrentRequester) -> ConnectorTypeListBody:
    return ConnectorTypeListBody(
        connector_types=[
            ConnectorTypeBody.model_validate(described) for described in describe_connector_types()
        ]
    )
