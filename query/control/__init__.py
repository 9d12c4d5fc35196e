"""People, credentials and the organization: logins, members, keys, API tokens, settings, and the log of who changed them."""
