"""Tests with real parts, each its own process. They fail in CI, and are skipped elsewhere, when a part is missing."""
