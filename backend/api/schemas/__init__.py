"""Request and response bodies: camelCase outside, snake_case inside."""
