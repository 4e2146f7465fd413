"""A template's texts, checked before they are stored, so that only values can make a send fail."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Self
from uuid import UUID

from backend.errors import FieldError, ValidationFailed
from backend.models import Template
from backend.services.templates.channels import EMAIL, SMS, WHATSAPP
from backend.services.templates.liquid.engine import TemplateSyntaxError
from backend.services.templates.liquid.fuel import ProjectFuel, fuel_of

CONTENT_LIMIT_CHARS: Final = 65_536
SUBJECT_LIMIT_CHARS: Final = 998  # RFC 5322, 2.1.1
VARIABLES_LIMIT: Final = 100
_PARAMETERS: Final = "variants.whatsapp.parameters"
_NAME: Final = re.compile(r"[^\W\d][\w-]{0,63}")


@dataclass(frozen=True, slots=True)
class TemplateContent:
    """A template's texts, with variants for some channels.

    `variants`: {whatsapp: {name, language, parameters}, email: {subject, html}, sms: {content}}.
    """

    content: str
    subject: str | None = None
    html: str | None = None
    variants: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, template: Template) -> Self:
        return cls(template.content, template.subject, template.html, template.variants)

    def texts(self) -> Iterator[tuple[str, str, bool]]:
        """Yield (field, text, is HTML) of every Liquid text."""
        email, sms = self.variants.get(EMAIL) or {}, self.variants.get(SMS) or {}
        for name, text, html in (
            ("content", self.content, False),
            ("subject", self.subject, False),
            ("html", self.html, True),
            ("variants.email.subject", email.get("subject"), False),
            ("variants.email.html", email.get("html"), True),
            ("variants.sms.content", sms.get("content"), False),
        ):
            if text:
                yield name, text, html

    def provider_parameters(self) -> list[str]:
        return list((self.variants.get(WHATSAPP) or {}).get("parameters") or ())


def detect_variables(content: TemplateContent, project_id: UUID | None = None) -> list[str]:
    """Return the names that any of the texts uses, in order of first appearance.

    Raises ValidationFailed, which names field and line of each Liquid error and each size over a
    limit; RenderingLimitExceeded if the project has too many texts read.
    """
    used = _used(content, fuel_of(project_id))
    return list(dict.fromkeys(name for names in used.values() for name in names))


def check_content(
    content: TemplateContent, declared: Sequence[str] | None, project_id: UUID | None = None
) -> list[str]:
    """Return the template's variables: the declared ones, or if that is None, those detected.

    An unused declared name is allowed; an undeclared used name is an error. Raises what
    `detect_variables` does.
    """
    used = _used(content, fuel_of(project_id))
    if declared is None:
        names = list(dict.fromkeys(name for names in used.values() for name in names))
        if len(names) > VARIABLES_LIMIT:
            raise _invalid(
                "content",
                f"The template uses {len(names)} variables; at most {VARIABLES_LIMIT} are allowed.",
            )
        return names
    names = _check_names(declared)
    missing = {
        name: field_name
        for field_name, names_used in reversed(used.items())
        for name in names_used
        if name not in names
    }
    if missing:
        raise ValidationFailed(
            errors=[
                FieldError(
                    "variables",
                    "UNDECLARED_VARIABLE",
                    f"'{field_name}' uses the variable '{name}', which is not declared; add it to"
                    ' "variables".',
                )
                for name, field_name in sorted(missing.items())
            ]
        )
    return names


def _used(content: TemplateContent, fuel: ProjectFuel) -> dict[str, list[str]]:
    """Return the names that each text uses; raises ValidationFailed for all the problems."""
    used: dict[str, list[str]] = {}
    problems: list[FieldError] = []
    for field_name, text, html in content.texts():
        is_subject = field_name.endswith("subject")
        limit = SUBJECT_LIMIT_CHARS if is_subject else CONTENT_LIMIT_CHARS
        if len(text) > limit:
            message = f"'{field_name}' has {len(text)} characters; at most {limit}."
            problems.append(FieldError(field_name, "VALIDATION_ERROR", message))
            continue
        try:
            used[field_name] = list(fuel.read(text, html=html).variables)
        except TemplateSyntaxError as exc:
            message = f"'{field_name}' is not valid Liquid, line {exc.line}: {exc.reason}."
            problems.append(FieldError(field_name, "VALIDATION_ERROR", message))
        if is_subject and ("\n" in text or "\r" in text):
            message = f"'{field_name}' has a line break; remove it."
            problems.append(FieldError(field_name, "VALIDATION_ERROR", message))
    if not content.content.strip():
        message = "A template needs content; write its text."
        problems.append(FieldError("content", "MISSING_REQUIRED_FIELD", message))
    if problems:
        raise ValidationFailed(errors=problems)
    used[_PARAMETERS] = _check_parameters(content.provider_parameters())
    return used


def _check_parameters(parameters: list[str]) -> list[str]:
    for name in parameters:
        if not _NAME.fullmatch(name):
            raise _invalid(_PARAMETERS, f"'{name[:64]}' is not a variable name such as first_name.")
    return parameters


def _check_names(declared: Sequence[str]) -> list[str]:
    if len(declared) > VARIABLES_LIMIT:
        raise _invalid(
            "variables",
            f"{len(declared)} variables are declared; at most {VARIABLES_LIMIT} are allowed.",
        )
    for index, name in enumerate(declared):
        if not _NAME.fullmatch(name):
            raise _invalid(
                f"variables[{index}]", f"'{name[:64]}' is not a variable name such as first_name."
            )
        if name in declared[:index]:
            raise _invalid(
                f"variables[{index}]", f"The variable '{name}' is declared twice; remove one."
            )
    return list(declared)


def _invalid(field_name: str, message: str) -> ValidationFailed:
    return ValidationFailed(errors=[FieldError(field_name, "VALIDATION_ERROR", message)])
