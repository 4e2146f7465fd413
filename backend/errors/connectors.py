"""Errors of connectors."""

from __future__ import annotations

from backend.errors.base import BadRequest, NotFound, ServerError


class InvalidConnectorType(BadRequest):
    code = "INVALID_CONNECTOR_TYPE"
    title = "Unsupported connector type"


class InvalidConnectorCredentials(BadRequest):
    code = "INVALID_CONNECTOR_CREDENTIALS"
    title = "The connector's credentials are not valid"


class ConnectorNotActive(BadRequest):
    code = "CONNECTOR_NOT_ACTIVE"
    title = "Connector is not active"


class ConnectorNotFound(NotFound):
    code = "CONNECTOR_NOT_FOUND"
    title = "Connector does not exist"


class ConnectorFailed(ServerError):
    code = "CONNECTOR_ERROR"
    title = "Connector failed to send message"
