"""Bodies of /auth: reference 002's shapes."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from backend import ids
from backend.api.inputs.bodies import Email, Instant, RequestBody, ResponseBody
from backend.models.user import User
from backend.services.accounts.passwords import MAX_CHARACTERS, MIN_CHARACTERS

NewPassword = Annotated[
    str,
    Field(min_length=MIN_CHARACTERS, max_length=MAX_CHARACTERS, examples=["SecurePassword123!"]),
]


class RegisterBody(RequestBody):
    email: Email
    password: NewPassword = Field(description=f"{MIN_CHARACTERS} to {MAX_CHARACTERS} characters")
    name: str = Field(default="", max_length=255, examples=["John Doe"])
    invitation: str | None = Field(
        default=None,
        max_length=255,
        description=(
            "The token of an invitation to this address: you join its project. Needed where "
            "registration is by invitation."
        ),
        examples=["iv_..."],
    )


class LoginBody(RequestBody):
    # Not checked further: whatever is wrong with it, the answer is INVALID_CREDENTIALS.
    email: str = Field(max_length=255, examples=["user@example.com"])
    password: str = Field(max_length=MAX_CHARACTERS, examples=["SecurePassword123!"])


class RefreshBody(RequestBody):
    refresh_token: str = Field(max_length=255, examples=["rf_..."])


class ChangePasswordBody(RequestBody):
    current_password: str = Field(max_length=MAX_CHARACTERS, examples=["SecurePassword123!"])
    new_password: NewPassword


class PasswordResetBody(RequestBody):
    email: Email


class ConfirmPasswordResetBody(RequestBody):
    token: str = Field(max_length=255, description="From the link in the mail", examples=["pr_..."])
    password: NewPassword


class ConfirmEmailBody(RequestBody):
    token: str = Field(max_length=255, description="From the link in the mail", examples=["ec_..."])


class Requested(ResponseBody):
    """The same answer whether or not there is such an account."""

    status: Literal["accepted"] = "accepted"


class LoggedInUser(ResponseBody):
    id: str = Field(examples=["usr_01h455vb4pex5vsknk084sn02q"])
    email: str = Field(examples=["user@example.com"])
    name: str = Field(examples=["John Doe"])

    @classmethod
    def of(cls, user: User) -> LoggedInUser:
        return cls(id=ids.encode(ids.USER, user.id), email=user.email, name=user.name)


class RegisteredUser(LoggedInUser):
    created_at: Instant

    @classmethod
    def of(cls, user: User) -> RegisteredUser:
        return cls(
            id=ids.encode(ids.USER, user.id),
            email=user.email,
            name=user.name,
            created_at=user.created_at,
        )


class CurrentUserBody(RegisteredUser):
    last_login: Instant | None = None

    @classmethod
    def of(cls, user: User) -> CurrentUserBody:
        return cls(
            id=ids.encode(ids.USER, user.id),
            email=user.email,
            name=user.name,
            created_at=user.created_at,
            last_login=user.last_login_at,
        )


class Registered(ResponseBody):
    user: RegisteredUser
    token: str = Field(description="Access token; send it as `Authorization: Bearer ...`")
    refresh_token: str = Field(description="Good for one call of /auth/refresh")


class LoggedIn(ResponseBody):
    user: LoggedInUser
    token: str = Field(description="Access token; send it as `Authorization: Bearer ...`")
    refresh_token: str = Field(description="Good for one call of /auth/refresh")


class Me(ResponseBody):
    user: CurrentUserBody
