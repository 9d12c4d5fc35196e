"""The command line `aegis`: arguments in; exit status, a table or one JSON document out.

Results go to standard output, everything said on the way to standard error. Exit status: 0 done, 1 cannot now (something is
away), 2 refused (the same command will fail again), 130 interrupted.
"""

from __future__ import annotations

import sys

import typer

from aegis.cli import (
    alerts,
    api_tokens,
    channels,
    credentials,
    dead_letters,
    geoip,
    logs,
    monitors,
    operations,
    privacy,
    promql,
    red,
    services,
    stores,
    topics,
    trace,
    users,
)
from aegis.cli.console import say_error
from topics.errors import AegisError, Refused, Unavailable

app = typer.Typer(
    name="aegis",
    help="Observability that a team runs itself: logs, metrics, traces and RUM, queried and watched.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)

services.add_to(app)
credentials.add_to(app)
users.add_to(app)
api_tokens.add_to(app)
operations.add_to(app)
topics.add_to(app)
stores.add_to(app)
dead_letters.add_to(app)
geoip.add_to(app)
privacy.add_to(app)
trace.add_to(app)
red.add_to(app)
promql.add_to(app)
logs.add_to(app)
monitors.add_to(app)
alerts.add_to(app)
channels.add_to(app)


def main() -> None:
    """The entry point."""
    try:
        app()
    except Unavailable as exc:
        say_error(f"{exc.reason}; is `aegis up` running on this data folder? `aegis doctor` looks at everything")
        sys.exit(1)
    except AegisError as exc:
        path = exc.path if isinstance(exc, Refused) else ""
        say_error(f"{path}: {exc}" if path else str(exc))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
