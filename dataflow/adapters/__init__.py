"""Dataflows for frameworks: `torch`, `lightning`, `tensorflow`, `keras` and `jax` in here.

Each is imported by its name, and imports its framework. They hand over the arrays' own memory where
the framework can take it. That is safe: memory that a transport uses anew is never used again while
anything refers to it.
"""
