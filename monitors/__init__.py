"""Watching, pure: definitions, windows, decisions, what a notification says; no I/O and no clock of its own."""
