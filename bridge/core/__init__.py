"""The vocabulary: telemetry and positions, device ids, errors, limits, times. No I/O, no clock."""
