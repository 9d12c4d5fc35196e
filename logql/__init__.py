"""LogQL: text -> a checked query, and what it says of one record; no I/O. storage/ turns the same query into SQL."""
