"""Benchmarks: Tidebase beside hand-written SQL and beside its peers, in one run on one machine."""
