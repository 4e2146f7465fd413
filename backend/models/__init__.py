"""The tables. One table, one file, with its tenant-scoped finders."""

from backend.models.account_token import AccountToken
from backend.models.api_key import ApiKey
from backend.models.attempt import Attempt
from backend.models.audit_entry import AuditEntry
from backend.models.auth_session import AuthSession, RefreshToken
from backend.models.connector import Connector
from backend.models.event import Event
from backend.models.idempotency import IdempotencyRecord
from backend.models.invitation import Invitation
from backend.models.message import Message
from backend.models.message_rollup import MessageRollup
from backend.models.project import Project, ProjectMember
from backend.models.provider_ref import ProviderRef
from backend.models.rollup_delta import ROLLUP_DELTAS
from backend.models.send_queue import SendQueueRow
from backend.models.suppression import Suppression
from backend.models.template import Template
from backend.models.template_version import TemplateVersion
from backend.models.user import User

__all__ = [
    "ROLLUP_DELTAS",
    "AccountToken",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "AuthSession",
    "Connector",
    "Event",
    "IdempotencyRecord",
    "Invitation",
    "Message",
    "MessageRollup",
    "Project",
    "ProjectMember",
    "ProviderRef",
    "RefreshToken",
    "SendQueueRow",
    "Suppression",
    "Template",
    "TemplateVersion",
    "User",
]
