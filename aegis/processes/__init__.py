"""The long-running processes, one file each. Each serves /health, /ready and /metrics, and drains on SIGTERM."""
