"""Who may see what, and how many: tokens, claims, principals, groups, origins, admission."""
