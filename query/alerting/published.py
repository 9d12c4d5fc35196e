"""What alerting takes, as JSON Schema for the published document, from the models that read it: monitors, channels, downtimes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from pydantic import BaseModel

from channels.definitions import EmailConfig, SlackConfig, WebhookConfig
from monitors.definitions import LogMonitor, MetricMonitor, RumMonitor, TraceMonitor
from monitors.downtimes import Downtime


def _whole(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of one model without references, which would lead nowhere in the published document."""
    schema = model.model_json_schema()
    named = schema.pop("$defs", {})

    def put_in(part: Any) -> Any:
        if isinstance(part, dict):
            reference = part.get("$ref")
            return put_in(named[reference.rpartition("/")[2]]) if reference else {k: put_in(v) for k, v in part.items()}
        return [put_in(each) for each in part] if isinstance(part, list) else part

    whole: dict[str, Any] = put_in(schema)
    return whole


def _one_of(models: Iterable[type[BaseModel]], description: str, example: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "oneOf": [_whole(model) for model in models], "examples": [example]}


def monitor_schema(example: dict[str, Any]) -> dict[str, Any]:
    """A definition. What holds between fields docs/monitors.md says."""
    description = (
        "a definition of its kind; docs/monitors.md tells what the fields mean, and what must hold between them"
    )
    schema = _one_of((MetricMonitor, LogMonitor, TraceMonitor, RumMonitor), description, example)
    for kind in schema["oneOf"]:
        # With the aggregation `absent` there is nothing to choose.
        kind["required"] = [name for name in kind["required"] if name != "critical"]
        kind["properties"]["critical"]["description"] += "; needed but with the aggregation `absent`"
    return schema


def downtime_schema(description: str, example: dict[str, Any]) -> dict[str, Any]:
    """A downtime with its name."""
    schema = _whole(Downtime)
    schema["properties"] = {"name": {"type": "string", "minLength": 1}} | schema["properties"]
    return schema | {"description": description, "required": ["name"], "examples": [example]}


CONFIG_SCHEMA: Final = _one_of(
    (WebhookConfig, SlackConfig, EmailConfig),
    "as the kind has it: webhook, slack, email",
    {"url": "https://hooks.example.com/aegis", "secret": "a long random text"},
)
