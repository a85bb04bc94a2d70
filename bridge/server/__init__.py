"""Listening, draining, health, logs, and what HTTP calls have in common."""
