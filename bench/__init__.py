"""Benchmarks: each number beside a limit taken in the same run, so that ratios travel between
machines.
"""
