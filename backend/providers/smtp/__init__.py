"""E-mail over SMTP. Anything before DATA is safe to repeat; a break after it is uncertain."""

from backend.providers.smtp.credentials import SmtpCredentials
from backend.providers.smtp.provider import SmtpProvider

__all__ = ["SmtpCredentials", "SmtpProvider"]
