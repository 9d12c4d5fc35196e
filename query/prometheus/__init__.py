"""The HTTP API of Prometheus: parameters (parameters.py), answers (documents.py), errors (failures.py), routes (api.py)."""
