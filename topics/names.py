"""Topic and consumer-group names: the way of the data in one place.

<signal>.raw   request bodies as accepted by the gateway, one message a request   (topics/raw.py)
<signal>       normalized columns, one batch a message                            (topics/arrow_messages.py, metric_columns.py)
usage          what each raw batch held, keyed by organization                    (topics/usage_counts.py)
panes          parts of windows, the time, and what people ask for, by monitor    (topics/panes.py)
alerts         transitions of monitors' groups, keyed by monitor                  (topics/transitions.py)
dead_letters   what can never succeed, with its reason                            (topics/dead_letters.py)
"""

from __future__ import annotations

from typing import Final

LOGS_RAW: Final = "logs.raw"
METRICS_RAW: Final = "metrics.raw"
TRACES_RAW: Final = "traces.raw"
RUM_RAW: Final = "rum.raw"
LOGS: Final = "logs"
METRICS: Final = "metrics"
TRACES: Final = "traces"
RUM: Final = "rum"
USAGE: Final = "usage"
PANES: Final = "panes"
ALERTS: Final = "alerts"
DEAD_LETTERS: Final = "dead_letters"

RAW_TOPICS: Final = (LOGS_RAW, METRICS_RAW, TRACES_RAW, RUM_RAW)
STORED_TOPICS: Final = (LOGS, METRICS, TRACES, RUM)

NORMALIZE_GROUP: Final = "aegis-normalize"
STORE_GROUP: Final = "aegis-store"
WATCH_GROUP: Final = "aegis-watch"
NOTIFY_GROUP: Final = "aegis-notify"

READERS: Final[dict[str, tuple[str, ...]]] = {
    **dict.fromkeys(RAW_TOPICS, (NORMALIZE_GROUP,)),
    **dict.fromkeys(STORED_TOPICS, (STORE_GROUP,)),
    USAGE: (WATCH_GROUP,),
    PANES: (WATCH_GROUP,),
    ALERTS: (NOTIFY_GROUP,),
    DEAD_LETTERS: (),
}
"""Which groups read which topic. Trimming waits for every one of them, also for one that has never run yet."""
