"""Public share-location links: one shared device, live, for a person without an account, until a token expires."""
