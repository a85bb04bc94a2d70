"""What a share is."""
