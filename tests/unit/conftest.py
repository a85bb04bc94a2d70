"""Rules for all unit tests."""

from __future__ import annotations

from hypothesis import settings

# A shared CI machine may pause for longer than Hypothesis allows one example; other tests look at slowness.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
