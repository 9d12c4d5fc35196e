"""The command line `aegis`: arguments in; exit status, a table or one JSON document out.

Results go to standard output, everything said on the way to standard error. Exit status: 0 done, 1 cannot now (something is
away), 2 refused (the same command will fail again), 130 interrupted.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from importlib import import_module
from types import MappingProxyType

import typer

from aegis.cli.console import say_error
from topics.errors import AegisError, Refused, Unavailable

MODULES = MappingProxyType(
    {
        "services": ("up", "gateway", "worker", "query", "migrate"),
        "credentials": ("org", "key", "token"),
        "users": ("user",),
        "api_tokens": ("api-token", "audit"),
        "operations": ("status", "doctor", "demo"),
        "topics": ("topics",),
        "stores": ("stores", "retention"),
        "dead_letters": ("dead-letters",),
        "geoip": ("geoip",),
        "privacy": ("privacy",),
        "trace": ("trace",),
        "red": ("services",),
        "promql": ("promql",),
        "logs": ("logs",),
        "monitors": ("monitors",),
        "alerts": ("alerts",),
        "channels": ("channels",),
    }
)
"""Module of this package -> the commands it adds. A command is loaded without the others, as those bring most of its start."""


def application(modules: Iterable[str] = MODULES) -> typer.Typer:
    """The commands of these modules."""
    app = typer.Typer(
        name="aegis",
        help="Observability that a team runs itself: logs, metrics, traces and RUM, queried and watched.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
        callback=_options,
    )
    for name in modules:
        import_module(f"aegis.cli.{name}").add_to(app)
    return app


def main() -> None:
    """The entry point."""
    named = [name for name, commands in MODULES.items() if sys.argv[1:2] and sys.argv[1] in commands]
    try:
        application(named or MODULES)()
    except Unavailable as exc:
        say_error(f"{exc}; is `aegis up` running on this data folder? `aegis doctor` looks at everything")
        sys.exit(1)
    except AegisError as exc:
        path = exc.path if isinstance(exc, Refused) else ""
        say_error(f"{path}: {exc}" if path else str(exc))
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)


def _options() -> None:
    """None of its own; a callback makes a single command one of several all the same."""
