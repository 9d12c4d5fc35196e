"""label_replace, label_join, and the labels of absent: they look at labels alone, never at values."""

from __future__ import annotations

import re
from typing import Any

import re2

from query.promql.aggregations import is_label_name
from query.promql.frames import Frame, failed, merged
from query.promql.labels import NAME, Labels, LabelTable
from query.promql.nodes import Node, Selector, Window
from query.promql.parsing import pattern_of

_REFERENCE = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))", re.ASCII)
VALUE_MAX = 65_536
"""Characters of a label value that a template may give."""


def _relabelled(frame: Frame, rows: list[Labels]) -> Frame:
    return merged(Frame(LabelTable(rows), frame.values, frame.present), LabelTable(rows).equal())


def _with(labels: Labels, name: str, value: str) -> Labels:
    changed = {**labels, name: value}
    if not value:
        del changed[name]
    return changed


def _expanded(template: str, found: Any) -> str:
    """Go's Regexp.Expand: $1, $name and ${name} are what the group matched, or nothing; $$ is a dollar."""

    def said(reference: re.Match[str]) -> str:
        name = reference[1] or reference[2]
        if name is None:
            return "$"
        if name.isdigit():
            # No pattern has as many groups as need more digits.
            return (found.group(int(name)) or "") if len(name) < 10 and int(name) <= found.re.groups else ""
        return (found.group(name) or "") if name in found.re.groupindex else ""

    return _REFERENCE.sub(said, template)


def replaced(frame: Frame, target: str, template: str, source: str, pattern: str) -> Frame:
    """Where the whole of `source` matches, `target` becomes what the template says; a label that becomes empty goes."""
    try:
        compiled = pattern_of(pattern)
    except re2.error:
        raise failed(f"invalid regular expression in label_replace(): {pattern}") from None
    if not is_label_name(target):
        raise failed(f"invalid destination label name in label_replace(): {target!r}")
    rows = []
    known: dict[str, str | None] = {}
    for labels in frame.table.rows:
        value = labels.get(source, "")
        if value not in known:
            found = compiled.search(value)
            known[value] = None if found is None else _expanded(template, found)
            if len(known[value] or "") > VALUE_MAX:
                raise failed(f"a label value of label_replace() is longer than {VALUE_MAX} characters")
        made = known[value]
        rows.append(labels if made is None else _with(labels, target, made))
    return _relabelled(frame, rows)


def joined(frame: Frame, target: str, separator: str, sources: list[str]) -> Frame:
    """`target` becomes the values of all sources, with the separator between them."""
    for name in sources:
        if not is_label_name(name):
            raise failed(f"invalid source label name in label_join(): {name!r}")
    if not is_label_name(target):
        raise failed(f"invalid destination label name in label_join(): {target!r}")
    rows = [
        _with(labels, target, separator.join(labels.get(name, "") for name in sources)) for labels in frame.table.rows
    ]
    return _relabelled(frame, rows)


def labels_of_absent(node: Node) -> Labels:
    """The labels that the selector demands with =, once each."""
    if isinstance(node, Window):
        node = node.selector
    if not isinstance(node, Selector):
        return {}
    labels: Labels = {}
    demanded: set[str] = set()
    for matcher in node.matchers:
        if matcher.label == NAME:
            continue
        if matcher.op == "=" and matcher.label not in demanded:
            demanded.add(matcher.label)
            labels[matcher.label] = matcher.value
        else:
            labels.pop(matcher.label, None)
    return {name: value for name, value in labels.items() if value}
