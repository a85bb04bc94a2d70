"""The shares of this process."""
