"""Every environment variable, typed and explained once; services get values, never `os.environ`.

Each noun has a module with its variables; `Settings` is all of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Self

from pydantic import model_validator

from backend.settings.accounts import AccountSettings
from backend.settings.base import MissingSetting
from backend.settings.delivery import DeliverySettings
from backend.settings.limits import LimitSettings
from backend.settings.operations import OperationSettings
from backend.settings.providers import ProviderSettings
from backend.settings.retention import RetentionSettings
from backend.settings.secrets import SecretSettings
from backend.settings.servers import ServerSettings
from backend.settings.web import WebSettings

__all__ = ["MissingSetting", "Settings", "get_settings"]


# The fields of the last base come first: wrong ones are named in this order.
class Settings(
    OperationSettings,
    ProviderSettings,
    RetentionSettings,
    DeliverySettings,
    LimitSettings,
    AccountSettings,
    WebSettings,
    SecretSettings,
    ServerSettings,
):
    """Names follow the reference documents' environment lists; `.env` in the working directory is
    read.
    """

    @model_validator(mode="after")
    def _strangers_need_an_invitation(self) -> Self:
        if "registration" not in self.model_fields_set and not self.is_local:
            self.registration = "invite"
        return self


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Read the environment once; `get_settings.cache_clear()` reads it again."""
    return Settings()
