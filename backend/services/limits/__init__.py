"""Every counter: how often a key, a project, a user or an address may do something.

A counter answers with one `Allowance` (allowance.py), which is also what writes the rate-limit
headers. There are three kinds of counter, by where and how they count:

- `rate_limit.py`: messages of a key in a sliding window and of a project in a month; in Redis, all
  waiting requests in one round trip (the send path).
- `fixed_windows.py`: tries under a name, in Redis; without Redis everything is let through. It
  counts log-ins, mails and dashboard calls, each in its own module.
- `local_window.py`: a sliding window in this process, for what must not cost a round trip.

To limit something else (one-time codes of a phone number, sends of a page's visitor), add a module
named for it that counts with one of the three:

    allowance = await count_tries(
        client,
        FixedWindow(f"limit:verification:phone:{phone_hash}", 5, 3600, "phone"),
        FixedWindow(f"limit:verification:visitor:{network}", 30, 3600, "visitor"),
    )
    allowance.require("Too many codes")

Several limits of one try share the round trip, the answer and its headers.
"""
