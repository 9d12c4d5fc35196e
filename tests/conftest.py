"""What acceptance, chaos and tests of questions share stands in tests/shared: plugins, so that no test file imports another."""

pytest_plugins = (
    "running_instance",
    "view_checks",
    "numbered_records",
    "asked_queries",
    "asked_metrics",
    "webhook_receiver",
    "control_api",
    "recorded_alerts",
    "watch_simulation",
    "alerting_api",
)
