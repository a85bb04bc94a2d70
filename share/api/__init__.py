"""The HTTP calls of share links."""
