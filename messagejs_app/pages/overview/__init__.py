"""Overview: the first three steps, the figures, the chart, the connectors and the latest
failures.
"""
