"""`telemetry-bridge share …`."""
