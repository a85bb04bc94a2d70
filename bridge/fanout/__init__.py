"""Device → cohorts → bounded queues."""
