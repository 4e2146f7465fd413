"""Real loopback servers that stand in for providers, for the tests and the benchmarks.

Every one is an async context manager with `host` and `port` (port 0 until entered) and needs
nothing but an event loop.
"""

from __future__ import annotations

from tests.providers.fakes._callbacks import (
    CallbackMaker,
    Reported,
    TwilioCallbacks,
    WhatsAppCallbacks,
)
from tests.providers.fakes._cases import CASES, Case
from tests.providers.fakes._faults import Fault, FaultServer, SmtpFaultServer, refused_port
from tests.providers.fakes._hostile import (
    HOSTILE_FAULTS,
    HostileFault,
    HostileTelegram,
    meets_fault,
)
from tests.providers.fakes._http import (
    FakeHttpProvider,
    FakeTelegram,
    FakeTwilio,
    FakeWhatsApp,
    Received,
)
from tests.providers.fakes._smtp import FakeSmtp, ReceivedMail

__all__ = [
    "CASES",
    "HOSTILE_FAULTS",
    "CallbackMaker",
    "Case",
    "FakeHttpProvider",
    "FakeSmtp",
    "FakeTelegram",
    "FakeTwilio",
    "FakeWhatsApp",
    "Fault",
    "FaultServer",
    "HostileFault",
    "HostileTelegram",
    "Received",
    "ReceivedMail",
    "Reported",
    "SmtpFaultServer",
    "TwilioCallbacks",
    "WhatsAppCallbacks",
    "meets_fault",
    "refused_port",
]
