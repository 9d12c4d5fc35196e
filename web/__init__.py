"""What every HTTP process shares: the shape of errors, /health, /ready and /metrics."""
