"""The RQ edge: jobs that lend the delivery engine time."""
