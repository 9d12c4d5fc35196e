"""The top, imported by nobody: settings, wiring, embedded services, process entry points and the command line."""
