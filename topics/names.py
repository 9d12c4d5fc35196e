"""Topic and consumer-group names: the way of the data in one place.

<signal>.raw   request bodies as accepted by the gateway, one message a request   (topics/raw.py)
<signal>       normalized columns, one Arrow record batch a message               (topics/log_columns.py)
dead_letters   what can never succeed, with its reason                            (topics/dead_letters.py)
"""

from __future__ import annotations

from typing import Final

LOGS_RAW: Final = "logs.raw"
LOGS: Final = "logs"
DEAD_LETTERS: Final = "dead_letters"

NORMALIZE_GROUP: Final = "aegis-normalize"
STORE_GROUP: Final = "aegis-store"

READERS: Final[dict[str, tuple[str, ...]]] = {
    LOGS_RAW: (NORMALIZE_GROUP,),
    LOGS: (STORE_GROUP,),
    DEAD_LETTERS: (),
}
"""Which groups read which topic. Trimming waits for every one of them, also for one that has never run yet."""
