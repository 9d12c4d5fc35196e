"""What an address and a user agent tell of the client: where it is, and what it runs."""
