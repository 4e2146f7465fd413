"""The only writer of messages, send_queue, attempts, events, dead_letters, suppressions,
provider_refs.
"""
