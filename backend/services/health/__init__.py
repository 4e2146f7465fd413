"""Whether this installation works: heartbeats, readiness, the secrets and the schema it runs on."""
