"""What can go wrong in a benchmark, told to the person who runs it."""

from __future__ import annotations


class BenchError(Exception):
    """A server, a tool or the machine did not do its part. The text says what, and what to do about it."""
