"""schemathesis reads the published OpenAPI of a running gateway, sends what it allows and what it does not, and finds nothing.

Each generated request is signed on its way out, unless it is one of those whose signing headers are wrong on purpose.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import re
import time
import zlib
from contextlib import suppress
from typing import Any, cast

import requests
import schemathesis
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from aegis.client import sign
from gateway.app import GatewayApp
from topics.errors import Refused
from topics.timestamps import parse_timestamp

PUBLISHED = {
    "x-org-key": re.compile(r"[!-~]{1,200}"),
    "x-timestamp": re.compile(r"[0-9]{1,15}"),
    "x-idempotency-key": re.compile(r"[!-~]{1,255}"),
    "x-signature": re.compile(r"(sha256|v2)=[0-9a-fA-F]{64}"),
}


def _zstd(body: bytes) -> bytes:
    """A frame of one raw block after another, which needs no library (RFC 8878 section 3.1.1)."""
    blocks = [body[i : i + 100_000] for i in range(0, len(body), 100_000)] or [b""]
    headers = [(len(block) << 3 | (i == len(blocks) - 1)).to_bytes(3, "little") for i, block in enumerate(blocks)]
    window_1_mib = b"\x50"
    return b"\x28\xb5\x2f\xfd\x00" + window_1_mib + b"".join(map(bytes.__add__, headers, blocks))


COMPRESS = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress, "zstd": _zstd}


class Signed(requests.auth.AuthBase):
    """Compresses a request as its headers say, and signs what is sent."""

    def __init__(self, org_key: str, secret: str) -> None:
        self._org_key = org_key
        self._secret = secret

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        body = request.body or b""
        body = body.encode() if isinstance(body, str) else body
        assert isinstance(body, bytes)
        encoding = request.headers.get("content-encoding", "")
        encoding = encoding.decode("latin-1") if isinstance(encoding, bytes) else encoding
        if encoding in COMPRESS:
            body = COMPRESS[encoding](body)
            request.body = body
            request.headers["content-length"] = str(len(body))
        # The same key for another body would be a conflict, as it should be.
        own_key = {"x-idempotency-key": hashlib.sha256(body).hexdigest()}
        signed = own_key | sign(body, org_key=self._org_key, secret=self._secret, timestamp_ms=int(time.time() * 1000))
        for name, pattern in PUBLISHED.items():
            value = request.headers.get(name)
            value = value.decode("latin-1") if isinstance(value, bytes) else value
            if value is not None and pattern.fullmatch(value):
                request.headers[name] = signed[name]
        return request


def put_in_order(case: schemathesis.Case) -> None:
    """Swap a span's times where it ends before it begins, which the schema forbids in words alone."""
    body: Any = case.body
    spans = body.get("spans") if isinstance(body, dict) else None
    for span in spans if isinstance(spans, list) else ():
        with suppress(Refused, KeyError, TypeError):
            if parse_timestamp(span["end_time"]) < parse_timestamp(span["start_time"]):
                span["end_time"], span["start_time"] = span["start_time"], span["end_time"]


# What the schema says of timestamps in words: the day must exist.
schemathesis.openapi.format(
    "timestamp", st.integers(0, 9_000_000_000).map(lambda s: time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(s)))
)
CONFIG = schemathesis.Config.from_dict(
    {
        "checks": {
            "negative_data_rejection": {"expected-statuses": [400, 401, 413, 415, 422]},
            "positive_data_acceptance": {"expected-statuses": [202]},
            "missing_required_header": {"expected-statuses": [401]},
        },
    }
)
DOCUMENT = GatewayApp(cast(Any, None)).openapi()
schema = schemathesis.openapi.from_dict(DOCUMENT, config=CONFIG)


@schema.parametrize()
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
def test_schemathesis_finds_nothing(case: schemathesis.Case, gateway_process: Any) -> None:
    put_in_order(case)
    case.call_and_validate(gateway_process.url, auth=Signed(gateway_process.org_key, gateway_process.secret))


def test_the_gateway_publishes_what_schemathesis_has_read(gateway_process: Any) -> None:
    served = requests.get(f"{gateway_process.url}/openapi.json", timeout=30).json()
    for path, operations in json.loads(json.dumps(DOCUMENT))["paths"].items():
        assert served["paths"][path] == operations
    assert served["components"]["schemas"].items() >= json.loads(json.dumps(DOCUMENT["components"]["schemas"])).items()
    assert "/openapi.json" in requests.get(f"{gateway_process.url}/docs", timeout=30).text
