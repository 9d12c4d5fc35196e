"""Notifications -> a message of Slack in blocks (https://docs.slack.dev/reference/block-kit/blocks), whose text is text.

What monitors and groups are called comes from people and from data: in Slack's markup it is escaped, so that nobody is mentioned
(`<!channel>`) and nothing looks like a link of ours.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import msgspec

from channels.notification import Notification, shown_number, title_of

_HEADER_MAX: Final = 150
_TEXT_MAX: Final = 2900
_LISTED_MAX: Final = 20
_MARKS: Final = {"ALERT": ":red_circle:", "WARN": ":large_yellow_circle:", "NO_DATA": ":white_circle:"}


def slack_body(notifications: Sequence[Notification]) -> bytes:
    """The JSON that an incoming webhook takes; `text` is what phones show."""
    title = title_of(notifications)
    blocks: list[dict[str, Any]] = [
        {"type": "header", "text": {"type": "plain_text", "text": _cut(title, _HEADER_MAX), "emoji": False}}
    ]
    if len(notifications) == 1:
        blocks += _details(notifications[0])
    else:
        lines = [_line(each) for each in notifications[:_LISTED_MAX]]
        if len(notifications) > _LISTED_MAX:
            lines.append(f"and {len(notifications) - _LISTED_MAX} more")
        # Cut by lines, so that no escape is cut in two.
        while sum(len(line) + 1 for line in lines) > _TEXT_MAX:
            lines.pop(-2)
        blocks.append({"type": "section", "text": {"type": "mrkdwn", "text": "\n".join(lines)}})
    return msgspec.json.encode({"text": escape(_cut(title, _TEXT_MAX)), "blocks": blocks})


def _details(one: Notification) -> list[dict[str, Any]]:
    facts = [
        ("State", f"{_MARKS.get(one.state, ':large_green_circle:')} {one.state}, was {one.previous_state}"),
        ("Value", f"{shown_number(one.value)}, threshold {shown_number(one.threshold)}"),
        ("Group", escape(_cut(one.group, 300))),
        ("At", escape(one.at)),
    ]
    blocks: list[dict[str, Any]] = [
        {"type": "section", "fields": [{"type": "mrkdwn", "text": f"*{name}*\n{text}"} for name, text in facts]}
    ]
    if one.message:
        text = {"type": "plain_text", "text": _cut(one.message, _TEXT_MAX), "emoji": False}
        blocks.insert(0, {"type": "section", "text": text})
    if one.url:
        link = {"type": "mrkdwn", "text": f"<{escape(one.url).replace('|', '%7C')}|Alert>"}
        blocks.append({"type": "context", "elements": [link]})
    return blocks


def _line(one: Notification) -> str:
    mark = _MARKS.get(one.state, ":large_green_circle:")
    return f"{mark} {escape(_cut(one.title, 200))}: {shown_number(one.value)}"


def escape(text: str) -> str:
    """Slack's three control characters as entities."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"
