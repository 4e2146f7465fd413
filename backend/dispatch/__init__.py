"""What every queue of work needs that hands things to servers of other people: leases, retries,
shares, circuits and pacing. An owner is what takes turns in a queue: a connector, an endpoint.
"""
