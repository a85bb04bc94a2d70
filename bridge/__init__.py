"""Telemetry bridge: MQTT in, authenticated WebSocket streams out.

Read the modules in the order in which data meets them: ``consumer`` → ``publishes`` → ``decoding`` →
``handoff`` → ``broker`` → ``cohort`` → ``outbox`` → ``session``.
"""

__version__ = "0.1.0"
