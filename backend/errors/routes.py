"""Errors of saved routes."""

from __future__ import annotations

from backend.errors.base import Conflict, NotFound


class RouteNotFound(NotFound):
    code = "ROUTE_NOT_FOUND"
    title = "Route does not exist"


class RouteNameTaken(Conflict):
    code = "ROUTE_NAME_TAKEN"
    title = "The project already has a route with this name"
