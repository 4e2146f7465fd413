"""The effective environment of a process: variables, `.env`, and what a running supervisor
announced.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from dotenv import dotenv_values
from pydantic import AliasChoices, SecretStr, ValidationError
from pydantic.fields import FieldInfo

from backend.runtime import secrets
from backend.runtime.datadir import DataDir, Running
from backend.runtime.errors import WrongSettings
from backend.settings import Settings, get_settings

Source = Literal["env", ".env", "messagejs up", "secrets.env", "default"]
_MASK: Final = "********"


def variable(field_name: str) -> str:
    """Return the environment variable of a settings field."""
    alias = Settings.model_fields[field_name].validation_alias
    if isinstance(alias, AliasChoices):
        return str(alias.choices[0])
    return field_name.upper()


class Environment:
    """Reads `.env` into `os.environ`, so that neither the working directory nor a child changes
    what holds.
    """

    def __init__(self, overrides: Mapping[str, str] | None = None) -> None:
        self._sources: dict[str, Source] = {}
        known = {variable(name) for name in Settings.model_fields}
        for name in known & os.environ.keys():
            self._sources[name] = "env"
        if overrides:
            self.add(overrides, "env", replace=True)
        if Path(".env").is_file():
            values = {name.upper(): value or "" for name, value in dotenv_values(".env").items()}
            self.add({name: value for name, value in values.items() if name in known}, ".env")
        # A child with another working directory must mean the same place.
        os.environ["MESSAGEJS_DATA_DIR"] = str(
            Path(os.environ.get("MESSAGEJS_DATA_DIR") or ".messagejs").expanduser().absolute()
        )

    def add(self, values: Mapping[str, str], source: Source, *, replace: bool = False) -> None:
        """Set variables that are unset (or empty), or all of them, and remember where they came
        from.
        """
        for name, value in values.items():
            if replace or not os.environ.get(name):
                os.environ[name] = value
                self._sources[name] = source
        get_settings.cache_clear()

    def settings(self) -> Settings:
        """Return the settings; raises WrongSettings that names each wrong variable."""
        try:
            return get_settings()
        except ValidationError as exc:
            raise WrongSettings(_explain(exc)) from exc

    def data_dir(self) -> DataDir:
        return DataDir(Path(os.environ["MESSAGEJS_DATA_DIR"]))

    def join_running(self) -> Running | None:
        """Use the embedded servers and secrets of a supervisor on the same data directory, if one
        runs.
        """
        data_dir = self.data_dir()
        running = data_dir.running()
        if ours := os.environ.get("DATABASE_URL"):
            # A supervisor on the same database may run the Redis that is not set.
            if (
                running is None
                or os.environ.get("REDIS_URL")
                or running.environment.get("DATABASE_URL") != ours
            ):
                return None
            self.add({"REDIS_URL": running.environment.get("REDIS_URL", "")}, "messagejs up")
            return running
        if running is not None:
            self.add(running.environment, "messagejs up")
        self.add(secrets.generated(data_dir), "secrets.env")
        return running

    def source(self, name: str) -> Source:
        return self._sources.get(name, "default")


def shown_value(settings: Settings, field_name: str) -> str:
    """Return a field's value for people: secrets masked, absent ones a dash."""
    value = getattr(settings, field_name)
    if value is None or value == ():
        return "-"
    if isinstance(value, SecretStr):
        return masked(value.get_secret_value())
    if isinstance(value, tuple):
        return ", ".join(value)
    return str(value).lower() if isinstance(value, bool) else str(value)


def masked(secret: str) -> str:
    """Hide a secret, or of a URL only its credentials."""
    scheme, separator, rest = secret.partition("://")
    if not separator:
        return _MASK
    credentials, at, place = rest.rpartition("@")
    if not at:
        return secret
    user = credentials.partition(":")[0]
    return f"{scheme}://{user}:{_MASK}@{place}"


def _explain(error: ValidationError) -> str:
    lines = []
    for problem in error.errors(include_url=False):
        message = problem["msg"].removeprefix("Value error, ")
        if not problem["loc"]:
            lines.append(message)
            continue
        name = _variable_of(str(problem["loc"][0]))
        lines.append(f"{name}{_given(name)}: {message}")
    return "Wrong settings:\n" + "\n".join(f"  {line}" for line in lines)


def _variable_of(location: str) -> str:
    field_name = location.lower()
    return variable(field_name) if field_name in Settings.model_fields else location.upper()


def _given(name: str) -> str:
    fields = {variable(field_name): field for field_name, field in Settings.model_fields.items()}
    value = os.environ.get(name)
    if value is None or name not in fields or _is_secret(fields[name]):
        return ""
    return f"={value}"


def _is_secret(field: FieldInfo) -> bool:
    return "SecretStr" in str(field.annotation)
