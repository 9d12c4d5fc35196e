"""URLs that people type."""

from __future__ import annotations

import pytest

from channels.urls import Target, parse_url
from topics.errors import Refused


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://hooks.example.com/a/b?c=d", Target("https", "hooks.example.com", 443, "/a/b?c=d")),
        ("HTTP://Example.com", Target("http", "example.com", 80, "/")),
        ("https://example.com:8443/x", Target("https", "example.com", 8443, "/x")),
        ("http://[2001:db8::1]:8080/", Target("http", "2001:db8::1", 8080, "/")),
        ("https://bücher.example/", Target("https", "xn--bcher-kva.example", 443, "/")),
    ],
)
def test_a_url_and_its_parts(url: str, target: Target) -> None:
    assert parse_url(url) == target


def test_what_may_be_shown_has_no_path() -> None:
    assert parse_url("https://hooks.slack.com/services/T0/B0/secret?token=x").origin == "https://hooks.slack.com"
    assert parse_url("http://[::1]:8080/secret").origin == "http://[::1]:8080"


@pytest.mark.parametrize(
    "url",
    [
        "", "example.com", "//example.com", "ftp://example.com", "file:///etc/passwd", "gopher://x:70/", "javascript:alert(1)",
        "https://", "https:///path", "https://user:pass@example.com/", "https://example.com@evil.test/", "https://a b/",
        "https://example.com:22/", "https://example.com:0/", "https://example.com:99999/", "https://example.com:x/",
        "https://example.com\\@evil.test/", "https://example.com/\r\nx-injected: 1", "https://example.com/a b",
        "https://[::1/", "https://exa$mple.com/", "https://example.com/" + "x" * 2048, "https://-example.com/",
    ],
)  # fmt: skip
def test_what_is_not_a_url_to_post_to_is_refused(url: str) -> None:
    with pytest.raises(Refused) as caught:
        parse_url(url)
    assert caught.value.path == "config.url"
