"""Adapters to agent frameworks, one module for each; none is imported unless it is asked for."""
