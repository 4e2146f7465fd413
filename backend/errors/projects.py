"""Errors of projects."""

from __future__ import annotations

from backend.errors.base import Forbidden, NotFound


class ProjectNotActive(Forbidden):
    code = "PROJECT_NOT_ACTIVE"
    title = "The project is switched off; it accepts and sends nothing until it is active again"


class ProjectNotFound(NotFound):
    code = "PROJECT_NOT_FOUND"
    title = "Project does not exist"
