"""Errors of templates."""

from __future__ import annotations

from backend.errors.base import BadRequest, NotFound


class TemplateNotActive(BadRequest):
    code = "TEMPLATE_NOT_ACTIVE"
    title = "Template is not active"


class TemplateNotFound(NotFound):
    code = "TEMPLATE_NOT_FOUND"
    title = "Template does not exist"


class TemplateVersionNotFound(NotFound):
    code = "TEMPLATE_VERSION_NOT_FOUND"
    title = "Template version does not exist"
