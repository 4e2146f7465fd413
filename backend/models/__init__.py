"""The tables. One table, one file, with its tenant-scoped finders."""

from backend.models.account_token import AccountToken
from backend.models.api_key import ApiKey
from backend.models.attempt import Attempt
from backend.models.audit_entry import AuditEntry
from backend.models.auth_session import AuthSession, RefreshToken
from backend.models.callback import Callback
from backend.models.campaign import Campaign, CampaignRow
from backend.models.connector import Connector
from backend.models.content_cursor import ContentCursor
from backend.models.content_hold import ContentHold
from backend.models.dead_letter import DeadLetter
from backend.models.event import Event
from backend.models.idempotency import IdempotencyRecord
from backend.models.invitation import Invitation
from backend.models.message import Message
from backend.models.message_rollup import MessageRollup
from backend.models.pending_receipt import PendingReceipt
from backend.models.process import Process
from backend.models.project import Project, ProjectMember
from backend.models.provider_ref import ProviderRef
from backend.models.rollup_delta import ROLLUP_DELTAS
from backend.models.route import Route
from backend.models.schema_compat import SchemaCompat
from backend.models.secret_fingerprint import SecretFingerprint
from backend.models.send_queue import SendQueueRow
from backend.models.send_token_secret import SendTokenSecret
from backend.models.suppression import Suppression
from backend.models.template import Template
from backend.models.template_version import TemplateVersion
from backend.models.used_token import UsedToken
from backend.models.user import User

__all__ = [
    "ROLLUP_DELTAS",
    "AccountToken",
    "ApiKey",
    "Attempt",
    "AuditEntry",
    "AuthSession",
    "Callback",
    "Campaign",
    "CampaignRow",
    "Connector",
    "ContentCursor",
    "ContentHold",
    "DeadLetter",
    "Event",
    "IdempotencyRecord",
    "Invitation",
    "Message",
    "MessageRollup",
    "PendingReceipt",
    "Process",
    "Project",
    "ProjectMember",
    "ProviderRef",
    "RefreshToken",
    "Route",
    "SchemaCompat",
    "SecretFingerprint",
    "SendQueueRow",
    "SendTokenSecret",
    "Suppression",
    "Template",
    "TemplateVersion",
    "UsedToken",
    "User",
]
