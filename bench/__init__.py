"""Benchmarks: each number comes with a limit from the same run, so that ratios hold elsewhere."""
