"""What a client sees, as bytes: frames, commands, closing codes."""
