"""Tests of the adapters; each file is skipped where its framework is absent (make test-agents)."""
