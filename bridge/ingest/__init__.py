"""MQTT bytes → Telemetry at the loop's door."""
