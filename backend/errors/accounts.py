"""Errors of users: accounts, log-ins, memberships, and the links in mails to them."""

from __future__ import annotations

from backend.errors.base import BadRequest, Conflict, Forbidden, NotFound, Unauthenticated


class InvalidCredentials(Unauthenticated):
    code = "INVALID_CREDENTIALS"
    title = "Invalid email or password"


class TokenExpired(Unauthenticated):
    code = "TOKEN_EXPIRED"
    title = "The token has expired; refresh it or log in again"


class InvalidToken(Unauthenticated):
    code = "INVALID_TOKEN"
    title = "The token is not valid; log in again"


class InvalidLink(BadRequest):
    code = "INVALID_LINK"
    title = "The link is invalid, has been used, or has expired; request a new one"


class RegistrationClosed(Forbidden):
    code = "REGISTRATION_CLOSED"
    title = "Registration is closed on this server"


class EmailTaken(Conflict):
    code = "EMAIL_TAKEN"
    title = "An account with this email exists; log in instead"


class AlreadyMember(Conflict):
    code = "ALREADY_MEMBER"
    title = "This user is already a member of the project"


class LastOwner(Conflict):
    # Also for the server's last administrator.
    code = "LAST_OWNER"
    title = "The project would have no owner; make someone else an owner first"


class UserNotFound(NotFound):
    code = "USER_NOT_FOUND"
    title = "User does not exist"


class SessionNotFound(NotFound):
    code = "SESSION_NOT_FOUND"
    title = "Session does not exist"


class MemberNotFound(NotFound):
    code = "MEMBER_NOT_FOUND"
    title = "Member does not exist"


class InvitationNotFound(NotFound):
    code = "INVITATION_NOT_FOUND"
    title = "Invitation does not exist"
