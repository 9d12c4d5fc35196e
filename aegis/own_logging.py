"""Our own log lines -> standard error, one format for every process."""

from __future__ import annotations

import logging
import sys
import time


def configure_logging(process: str, level: str) -> None:
    """Log `level` and above as `2025-10-31T10:00:00Z WARNING worker topics.x: text`.

    Libraries say less: warnings and above. Records never go into our own pipeline.
    """
    formatter = logging.Formatter(f"%(asctime)sZ %(levelname)s {process} %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    # Faust's services announce each start and stop under the module of their class; ours say what matters themselves.
    for announcer in ("topics.faust_app", "topics.redis_streams.producer"):
        logging.getLogger(announcer).setLevel(logging.WARNING)
    for package in ("aegis", "agents", "gateway", "query", "storage", "tables", "topics", "web"):
        logging.getLogger(package).setLevel(level.upper())
