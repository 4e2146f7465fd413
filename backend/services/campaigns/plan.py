"""What a campaign sends, and how a row of its table becomes one message."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from backend.errors import FieldError, TemplateNotActive, ValidationFailed
from backend.services.policy.request import SendRequest
from backend.services.routing.ways import find_ways
from backend.services.templates.content import TemplateContent, detect_variables
from backend.services.templates.liquid.engine import TemplateRenderError, TemplateSyntaxError
from backend.services.templates.liquid.fuel import fuel_of

if TYPE_CHECKING:
    from backend.models import Campaign
    from backend.services.catalog.catalog import CatalogConnector
    from backend.services.policy.send_path import SendPath
    from backend.services.policy.sender import Sender
    from backend.services.templates.render import TemplateSource

TO: Final = "to"
# Heads that say who gets it, however they are written.
_RECIPIENT_NAMES: Final = (
    TO, "recipient", "phone", "phonenumber", "mobile", "telephone", "tel", "email", "mail",
    "emailaddress", "chatid",
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    """A template, or texts with variables of their own.

    `mapping`: column -> "to", or the name of a variable.
    """

    columns: Sequence[str]
    mapping: Mapping[str, str]
    connector_id: UUID | None = None
    connector_type: str | None = None
    template_id: UUID | None = None
    message: str | None = None
    subject: str | None = None
    html: str | None = None
    priority: str = "bulk"
    metadata: Mapping[str, Any] | None = None
    expires_at: datetime | None = None
    # Whose fuel the texts are rendered with; None: nobody's.
    project_id: UUID | None = None
    _request: SendRequest = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        request = SendRequest(
            to="",
            connector_id=self.connector_id,
            connector_type=self.connector_type,
            template_id=self.template_id,
            text=self.message,
            subject=self.subject,
            html=self.html,
            priority=self.priority,
            metadata=self.metadata,
            expires_at=self.expires_at,
        )
        object.__setattr__(self, "_request", request)

    @classmethod
    def of(cls, campaign: Campaign) -> Plan:
        return cls(
            columns=campaign.columns,
            mapping=campaign.mapping,
            connector_id=campaign.connector_id,
            connector_type=campaign.connector_type,
            template_id=campaign.template_id,
            message=campaign.message,
            subject=campaign.subject,
            html=campaign.html,
            priority=campaign.priority,
            metadata=campaign.metadata_,
            expires_at=campaign.expires_at,
            project_id=campaign.project_id,
        )

    def mapped(self, mapping: Mapping[str, str]) -> Plan:
        return replace(self, mapping=mapping)

    @cached_property
    def _places(self) -> dict[str, int]:
        return {target: self.columns.index(column) for column, target in self.mapping.items()}

    @cached_property
    def _version(self) -> int:
        """Stands for the texts among what the project renders."""
        return hash((self.message, self.subject, self.html))

    def recipient(self, cells: Sequence[str]) -> str:
        return cells[self._places[TO]]

    def request(self, cells: Sequence[str]) -> SendRequest:
        """Return what is sent for a row. An empty cell is a missing value.

        Raises ValidationFailed; RenderingLimitExceeded or TemplatePaused when the project renders
        too much.
        """
        to = self.recipient(cells)
        if not to:
            raise ValidationFailed(
                errors=[FieldError(TO, "MISSING_REQUIRED_FIELD", "The row names no recipient.")]
            )
        values = {
            name: cells[place]
            for name, place in self._places.items()
            if name != TO and cells[place]
        }
        if self.template_id is not None:
            return replace(self._request, to=to, variables=values)
        fuel_of(self.project_id).admit(self._version)
        return replace(
            self._request,
            to=to,
            text=self._filled(self.message, values),
            subject=self._filled(self.subject, values),
            html=self._filled(self.html, values, html=True),
        )

    def _filled(
        self, text: str | None, values: Mapping[str, str], *, html: bool = False
    ) -> str | None:
        if not text:
            return text
        fuel = fuel_of(self.project_id)
        try:
            missing = [name for name in fuel.read(text, html=html).variables if name not in values]
            if missing:
                raise ValidationFailed(errors=[_missing_cell(name) for name in missing])
            return fuel.fill(text, values, html=html, version=self._version)
        except (TemplateRenderError, TemplateSyntaxError) as exc:
            problem = f"The text cannot be made of this row: {exc}."
            raise ValidationFailed(
                errors=[FieldError("message", "VALIDATION_ERROR", problem)]
            ) from exc

    async def check(self, path: SendPath, sender: Sender) -> list[CatalogConnector]:
        """Return what it may go through, at least one.

        Raises what is wrong with every row: content, way, mapping.
        """
        await path.catalog.require_open(sender.project_id)
        template = None
        if self.template_id is not None:
            template = await path.catalog.template(sender.project_id, self.template_id)
            if not template.is_active:
                raise TemplateNotActive(
                    f"Template '{template.name}' is not active; activate it to send it."
                )
        self._check_mapping(await self.variables(path, sender))
        ways = await find_ways(path, sender, self._request, template)
        return [way.connector for way in ways.steps]

    async def variables(self, path: SendPath, sender: Sender) -> list[str]:
        """Return the names that every row has to fill in.

        Raises TemplateNotFound or ValidationFailed.
        """
        if self.template_id is not None:
            template: TemplateSource = await path.catalog.template(
                sender.project_id, self.template_id
            )
            return list(template.variables)
        if not self.message:
            problem = 'Name a "templateId", or write a "message".'
            raise ValidationFailed(
                errors=[FieldError("templateId", "MISSING_REQUIRED_FIELD", problem)]
            )
        try:
            return detect_variables(
                TemplateContent(self.message, self.subject, self.html), sender.project_id
            )
        except ValidationFailed as exc:
            # A template's content is a campaign's message.
            errors = [
                replace(error, field="message") if error.field == "content" else error
                for error in exc.errors
            ]
            raise ValidationFailed(exc.message, errors=errors) from exc

    def _check_mapping(self, variables: Sequence[str]) -> None:
        targets = list(self.mapping.values())
        errors = [
            _wrong(
                f"mapping.{column}",
                f"The file has no column '{column}'; it has {_listed(self.columns)}.",
            )
            for column in self.mapping
            if column not in self.columns
        ]
        errors += [
            _wrong(
                f"mapping.{column}",
                f"Nothing uses the variable '{name}'; remove it, or use {_listed(variables)}.",
            )
            for column, name in self.mapping.items()
            if name != TO and name not in variables
        ]
        for name in (TO, *variables):
            if name not in targets:
                what = "the recipient" if name == TO else f"the variable '{name}'"
                problem = (
                    f'Say in "mapping" which column holds {what}; the file has'
                    f" {_listed(self.columns)}."
                )
                errors.append(FieldError("mapping", "MISSING_REQUIRED_FIELD", problem))
            elif targets.count(name) > 1:
                errors.append(
                    _wrong("mapping", f"Two columns are mapped to '{name}'; keep one of them.")
                )
        if errors:
            raise ValidationFailed(errors=errors)


def guess_mapping(columns: Sequence[str], variables: Sequence[str]) -> dict[str, str]:
    """Return the columns whose names say what they hold."""
    mapping: dict[str, str] = {}
    for name in variables:
        column = next(
            (item for item in columns if _plain(item) == _plain(name) and item not in mapping), None
        )
        if column is not None:
            mapping[column] = name
    for name in _RECIPIENT_NAMES:
        column = next(
            (item for item in columns if _plain(item) == name and item not in mapping), None
        )
        if column is not None:
            return {column: TO, **mapping}
    return mapping


def _plain(name: str) -> str:
    return "".join(character for character in name.lower() if character.isalnum())


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(f"'{name}'" for name in names[:10])
    return f"{shown} and {len(names) - 10} more" if len(names) > 10 else shown or "none"


def _wrong(name: str, message: str) -> FieldError:
    return FieldError(name, "VALIDATION_ERROR", message)


def _missing_cell(name: str) -> FieldError:
    return FieldError(
        f"variables.{name}", "MISSING_REQUIRED_FIELD", f"The row has no value for '{name}'."
    )
