"""What may be done with an accepted message: cancel, resend, redrive."""
