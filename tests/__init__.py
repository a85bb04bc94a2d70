"""The tests: unit (no network, no clock), functional (our own server), real (Mosquitto, nginx, a browser)."""
