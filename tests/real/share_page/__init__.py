"""What drives the page of a share in Chromium, and a fake of the server behind it."""
