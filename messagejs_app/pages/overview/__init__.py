"""Overview: the first steps, figures, chart, connectors and the latest failures."""
