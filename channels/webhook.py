"""Notifications -> the body and headers of a signed request.

x-aegis-timestamp: 1761912000000
x-aegis-signature: sha256=<hex HMAC-SHA256(secret, "{timestamp}:{body}")>
"""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from typing import Any

import msgspec

from channels.definitions import WebhookConfig
from channels.notification import Notification, title_of

USER_AGENT = "aegis-notifications"


def webhook_body(notifications: Sequence[Notification], dedup_key: str) -> bytes:
    """One notification as an object. Several are the first one's with `count`, and all of them as `notifications`."""
    first = notifications[0]
    body: dict[str, Any] = msgspec.to_builtins(first)
    if len(notifications) > 1:
        body |= {
            "message": title_of(notifications),
            "dedup_key": dedup_key,
            "count": len(notifications),
            "notifications": [msgspec.to_builtins(each) for each in notifications],
        }
    return msgspec.json.encode(body)


def webhook_headers(config: WebhookConfig, body: bytes, dedup_key: str, *, now_ms: int) -> dict[str, str]:
    """Headers of a request, signed where the channel has a secret. `now_ms` is unix milliseconds."""
    headers = {
        "content-type": "application/json",
        "user-agent": USER_AGENT,
        "x-aegis-timestamp": str(now_ms),
        "x-aegis-dedup-key": dedup_key,
    }
    if config.secret:
        headers["x-aegis-signature"] = f"sha256={signature(config.secret, now_ms, body)}"
    return headers | dict(config.headers or {})


def signature(secret: str, timestamp_ms: int, body: bytes) -> str:
    """HMAC-SHA256 over `{timestamp}:{body}`, in hex; the secret's characters are the key."""
    return hmac.digest(secret.encode(), b"%d:%b" % (timestamp_ms, body), "sha256").hex()
