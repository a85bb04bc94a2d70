"""Telemetry → what the viewers of a share see."""
