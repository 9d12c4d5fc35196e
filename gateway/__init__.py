"""The way in: HTTP requests -> topics."""
