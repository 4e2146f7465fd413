"""Bodies of /analytics and /stats: the shapes of references 002 and 003, and additions."""

from __future__ import annotations

from datetime import date, datetime
from typing import Annotated, Literal

from pydantic import Field, PlainSerializer

from backend import ids
from backend.api.inputs.bodies import Instant, ResponseBody
from backend.services.reporting.analytics import (
    ConnectorStatistics,
    Latency,
    MessageStatistics,
    SentCounts,
    Tally,
    Usage,
)
from backend.services.reporting.periods import Period

_SENT = "Taken by a provider, failed, or uncertain: no longer waiting"
_DELIVERED = "Delivered or read"
_FAILED = "Failed, undelivered or expired"
_RATE = "Delivered of sent, 0 to 1"
LocalInstant = Annotated[
    datetime, PlainSerializer(datetime.isoformat, return_type=str, when_used="json")
]


class PeriodBody(ResponseBody):
    from_: Instant = Field(alias="from", examples=["2024-01-01T00:00:00.000Z"])
    to: Instant = Field(
        description="The last millisecond that is counted", examples=["2024-01-31T23:59:59.999Z"]
    )

    @classmethod
    def of(cls, period: Period) -> PeriodBody:
        return cls(from_=period.span.start, to=period.last)


class LatencyBody(ResponseBody):
    """Milliseconds since a message was due (accepted, or its sendAt); at most 4.5 % off."""

    p50_ms: float | None = Field(examples=[120.4])
    p95_ms: float | None = Field(examples=[480.7])

    @classmethod
    def of(cls, latency: Latency) -> LatencyBody:
        return cls(p50_ms=_rounded(latency.p50_ms), p95_ms=_rounded(latency.p95_ms))


class FailureReasonBody(ResponseBody):
    code: str = Field(
        description="The message's error code; empty if there is none", examples=["21211"]
    )
    messages: int = Field(examples=[12])

    @classmethod
    def list_of(cls, tally: Tally) -> list[FailureReasonBody]:
        ordered = sorted(tally.failures.items(), key=lambda item: (-item[1], item[0]))
        return [cls(code=code, messages=messages) for code, messages in ordered]


class CountsBody(ResponseBody):
    sent: int = Field(description=_SENT, examples=[800])
    delivered: int = Field(description=_DELIVERED, examples=[780])
    failed: int = Field(description=_FAILED, examples=[20])

    @classmethod
    def of(cls, tally: Tally) -> CountsBody:
        return cls(sent=tally.sent, delivered=tally.delivered, failed=tally.failed)


class TotalsBody(ResponseBody):
    sent: int = Field(description=_SENT, examples=[1250])
    delivered: int = Field(description=_DELIVERED, examples=[1180])
    failed: int = Field(description=_FAILED, examples=[70])
    delivered_rate: float = Field(description=_RATE, examples=[0.944])
    accepted: int = Field(
        description="All messages, including waiting and canceled ones", examples=[1260]
    )

    @classmethod
    def of(cls, tally: Tally) -> TotalsBody:
        return cls(
            sent=tally.sent,
            delivered=tally.delivered,
            failed=tally.failed,
            delivered_rate=_rate(tally),
            accepted=tally.accepted,
        )


class DayBody(CountsBody):
    date: date


class HourBody(CountsBody):
    hour: LocalInstant = Field(
        description="When the hour began, in the chosen time zone",
        examples=["2024-01-15T10:00:00+01:00"],
    )


class MessageStatisticsBody(ResponseBody):
    period: PeriodBody
    timezone: str = Field(examples=["Europe/Berlin"])
    totals: TotalsBody
    by_connector: dict[str, CountsBody] = Field(description="By connector type, the busiest first")
    by_status: dict[str, int] = Field(examples=[{"delivered": 1180, "failed": 70, "queued": 10}])
    by_day: list[DayBody] = Field(description="Every day of the period in the time zone")
    by_hour: list[HourBody] | None = Field(
        default=None,
        description="Every hour of the period, with interval=hour; a day has 23 to 25 of them",
    )
    time_to_provider: LatencyBody
    time_to_delivery: LatencyBody
    failures_by_reason: list[FailureReasonBody] = Field(description="The most frequent first")

    @classmethod
    def of(
        cls, statistics: MessageStatistics, interval: Literal["hour", "day"]
    ) -> MessageStatisticsBody:
        totals = statistics.totals
        return cls(
            period=PeriodBody.of(statistics.period),
            timezone=statistics.period.zone.key,
            totals=TotalsBody.of(totals),
            by_connector={
                type_: CountsBody.of(tally) for type_, tally in statistics.by_connector.items()
            },
            by_status=dict(sorted(totals.by_status.items())),
            by_day=[DayBody(date=day, **_counts(tally)) for day, tally in statistics.by_day],
            by_hour=(
                [HourBody(hour=hour, **_counts(tally)) for hour, tally in statistics.by_hour]
                if interval == "hour"
                else None
            ),
            time_to_provider=LatencyBody.of(totals.to_provider),
            time_to_delivery=LatencyBody.of(totals.to_delivery),
            failures_by_reason=FailureReasonBody.list_of(totals),
        )


class TopConnectorBody(ResponseBody):
    type: str = Field(examples=["whatsapp"])
    messages: int = Field(examples=[800])


class UsageBody(ResponseBody):
    period: PeriodBody
    total_messages: int = Field(
        description="Messages of the project that were accepted", examples=[1250]
    )
    total_projects: int = Field(
        description="Projects you are a member of; 1 for an API key", examples=[5]
    )
    total_connectors: int = Field(description="Connectors of the project", examples=[12])
    average_delivery_rate: float = Field(description=_RATE, examples=[0.944])
    top_connectors: list[TopConnectorBody]

    @classmethod
    def of(cls, usage: Usage) -> UsageBody:
        return cls(
            period=PeriodBody.of(usage.period),
            total_messages=usage.totals.accepted,
            total_projects=usage.total_projects,
            total_connectors=usage.total_connectors,
            average_delivery_rate=_rate(usage.totals),
            top_connectors=[
                TopConnectorBody(type=type_, messages=messages)
                for type_, messages in usage.top_connectors
            ],
        )


class ConnectorStatisticsBody(TotalsBody):
    connector_id: str = Field(examples=["conn_01h455vb4pex5vsknk084sn02q"])
    type: str = Field(examples=["whatsapp"])
    name: str | None = Field(
        description="null for a connector that was deleted", examples=["WhatsApp Business"]
    )
    is_active: bool
    by_status: dict[str, int]
    time_to_provider: LatencyBody
    time_to_delivery: LatencyBody
    failures_by_reason: list[FailureReasonBody]

    @classmethod
    def of_connector(cls, statistics: ConnectorStatistics) -> ConnectorStatisticsBody:
        tally = statistics.tally
        return cls(
            connector_id=ids.encode(ids.CONNECTOR, statistics.id),
            type=statistics.type,
            name=statistics.name,
            is_active=statistics.is_active,
            by_status=dict(sorted(tally.by_status.items())),
            time_to_provider=LatencyBody.of(tally.to_provider),
            time_to_delivery=LatencyBody.of(tally.to_delivery),
            failures_by_reason=FailureReasonBody.list_of(tally),
            **TotalsBody.of(tally).model_dump(),
        )


class ConnectorStatisticsList(ResponseBody):
    period: PeriodBody
    connectors: list[ConnectorStatisticsBody] = Field(description="The busiest first")


class SentAndReceivedBody(ResponseBody):
    sent: int = Field(description=_SENT, examples=[150])
    received: int = Field(
        default=0, description="0: inbound messages are not part of this version", examples=[0]
    )


class StatsData(ResponseBody):
    today: SentAndReceivedBody
    this_week: SentAndReceivedBody = Field(description="Since Monday")
    this_month: SentAndReceivedBody
    total: SentAndReceivedBody = Field(description="Of all time, or from startDate to endDate")


class StatsBody(ResponseBody):
    """Reference 003's envelope."""

    success: Literal[True] = True
    data: StatsData

    @classmethod
    def of(cls, counts: SentCounts) -> StatsBody:
        return cls(
            data=StatsData(
                today=SentAndReceivedBody(sent=counts.today),
                this_week=SentAndReceivedBody(sent=counts.this_week),
                this_month=SentAndReceivedBody(sent=counts.this_month),
                total=SentAndReceivedBody(sent=counts.total),
            )
        )


def _counts(tally: Tally) -> dict[str, int]:
    return {"sent": tally.sent, "delivered": tally.delivered, "failed": tally.failed}


def _rate(tally: Tally) -> float:
    return round(tally.delivered_rate, 4)


def _rounded(value_ms: float | None) -> float | None:
    return round(value_ms, 1) if value_ms is not None else None
