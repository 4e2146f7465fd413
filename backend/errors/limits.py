"""Errors of limits: too much in too short a time."""

from __future__ import annotations

from backend.errors.base import AppError


class RateLimitExceeded(AppError):
    status = 429
    code = "RATE_LIMIT_EXCEEDED"
    title = "Rate limit exceeded"


class QuotaExceeded(AppError):
    status = 429
    code = "QUOTA_EXCEEDED"
    title = "Monthly quota exceeded"
