"""HTTP requests in ClickHouse's protocol -> Query."""

from __future__ import annotations

import base64
import gzip
import zlib

import lz4.frame  # type: ignore[import-untyped]  # ships no types
import pytest
from backports import zstd

from aegis.embedded.clickhouse.compression import RESPONSE_ENCODINGS, accepted_encoding, compressor, decompress
from aegis.embedded.clickhouse.failures import EngineFailure, QueryFailure
from aegis.embedded.clickhouse.requests import Query, credentials, read_query


def query(url: str = "", body: bytes = b"", method: str = "POST", **headers: str) -> Query:
    named = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return read_query(method, url.encode(), named, body, 1000)


def test_sql_in_the_url_in_the_body_and_in_both() -> None:
    assert query("query=SELECT+1", method="GET").statement.text == b"SELECT 1"
    assert query(body=b"SELECT 2").statement.text == b"SELECT 2"
    assert query("query=SELECT", b"3").statement.text == b"SELECT\n3"


def test_data_of_an_insert_come_from_the_body() -> None:
    for url, body in (
        ("query=INSERT+INTO+t+FORMAT+CSV", b"1,2"),
        ("", b"INSERT INTO t FORMAT CSV\n1,2"),
        ("query=INSERT+INTO+t", b"FORMAT CSV\n1,2"),
        ("query=INSERT+INTO+t+VALUES", b"1,2"),
    ):
        read = query(url, body)
        assert read.statement.kind == "insert_data"
        assert bytes(read.data).strip() == b"1,2"


def test_settings_parameters_and_what_belongs_to_the_transport() -> None:
    read = query(
        "database=db&query_id=q&param_x=a%09b&max_threads=1&session_id=s&wait_end_of_query=1&default_format=CSV"
        "&insert_deduplication_token=t%27&log_comment=mine&enable_http_compression=1",
        b"SELECT {x:String}",
        accept_encoding="gzip, zstd",
    )
    assert read.settings == {"max_threads": "1", "insert_deduplication_token": "t'"}
    assert read.parameters == {"x": "a\tb"}
    assert (read.database, read.query_id, read.default_format) == ("db", "q", "CSV")
    assert read.buffered
    assert read.encoding == "zstd"
    assert not read.read_only


def test_defaults() -> None:
    read = query("query=SELECT+1", method="GET")
    assert (read.database, read.default_format, read.encoding, read.read_only) == (
        "default",
        "TabSeparated",
        None,
        True,
    )
    assert len(read.query_id) == 36
    assert query("query=SELECT+1", x_clickhouse_database="db", x_clickhouse_format="JSON").database == "db"
    assert query("query=SELECT+1", accept_encoding="gzip").encoding is None


@pytest.mark.parametrize("url", ["a%27b=1", "max_threads%3D1%2C%20x=1", "=1", "1a=1"])
def test_a_setting_name_is_never_sql(url: str) -> None:
    with pytest.raises(QueryFailure) as caught:
        query(url, b"SELECT 1")
    assert caught.value.code == 36


def test_long_parameters_come_as_a_form() -> None:
    body = (
        b'--b1\r\nContent-Disposition: form-data; name="query"\r\n\r\nSELECT {x:String}\r\n'
        b'--b1\r\nContent-Type: text/plain\r\nContent-Disposition: form-data; name="param_x"\r\n\r\nline\\n--b\r\n--b1--\r\n'
    )
    read = query("database=db", body, content_type="multipart/form-data; boundary=b1")
    assert read.statement.text == b"SELECT {x:String}"
    assert read.parameters == {"x": "line\\n--b"}
    file = body.replace(b'name="param_x"', b'name="t"; filename="t"')
    with pytest.raises(QueryFailure, match="external data"):
        query("", file, content_type="multipart/form-data; boundary=b1")


def test_credentials_from_headers_basic_and_url() -> None:
    basic = b"Basic " + base64.b64encode(b"u:p:w")
    assert credentials(b"", {b"x-clickhouse-user": b"u", b"x-clickhouse-key": b"p"}) == ("u", "p")
    assert credentials(b"", {b"authorization": basic}) == ("u", "p:w")
    assert credentials(b"user=u&password=p", {}) == ("u", "p")
    assert credentials(b"", {}) == ("default", "")
    assert credentials(b"", {b"authorization": b"Basic !"}) == ("", "")


_ENCODERS = {"gzip": gzip.compress, "deflate": zlib.compress, "zstd": zstd.compress, "lz4": lz4.frame.compress}


@pytest.mark.parametrize("encoding", list(_ENCODERS))
def test_bodies_of_one_frame_or_several(encoding: str) -> None:
    encode = _ENCODERS[encoding]
    assert decompress(encode(b"abc" * 100), encoding, 300) == b"abc" * 100
    assert decompress(encode(b"abc") + encode(b"def"), encoding, 300) == b"abcdef"
    assert decompress(b"", encoding, 300) == b""


@pytest.mark.parametrize("encoding", list(_ENCODERS))
def test_a_body_that_unfolds_to_too_much_is_stopped_early(encoding: str) -> None:
    bomb = _ENCODERS[encoding](bytes(50_000_000))
    with pytest.raises(QueryFailure) as caught:
        decompress(bomb, encoding, 1_000_000)
    assert caught.value.status == 413


@pytest.mark.parametrize("encoding", list(_ENCODERS))
@pytest.mark.parametrize("damage", [lambda body: body[: len(body) // 2], lambda _: b"nothing of the kind"])
def test_a_body_that_is_broken_is_refused(encoding: str, damage: object) -> None:
    assert callable(damage)
    with pytest.raises(QueryFailure) as caught:
        decompress(damage(_ENCODERS[encoding](b"abc" * 1000)), encoding, 10_000)
    assert (caught.value.code, caught.value.status) == (271, 400)


def test_an_unknown_encoding_is_refused() -> None:
    with pytest.raises(QueryFailure, match="br"):
        query("", b"x", content_encoding="br")


@pytest.mark.parametrize("encoding", RESPONSE_ENCODINGS)
def test_answers_are_encoded_in_chunks(encoding: str) -> None:
    encoder = compressor(encoding)
    body = encoder.compress(b"abc" * 1000) + encoder.compress(b"def") + encoder.flush()
    assert decompress(body, encoding, 10_000) == b"abc" * 1000 + b"def"
    empty = compressor(encoding)
    assert decompress(empty.flush(), encoding, 10) == b""


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", None),
        ("br", None),
        ("gzip, deflate", "gzip"),
        ("lz4;q=0, gzip", "gzip"),
        ("lz4,zstd,gzip", "lz4"),
        ("zstd;q=0.5", "zstd"),
    ],
)
def test_the_cheapest_accepted_encoding_is_chosen(accept: str, chosen: str | None) -> None:
    assert accepted_encoding(accept) == chosen


@pytest.mark.parametrize(
    ("text", "code", "status"),
    [
        ("Code: 60. DB::Exception: no table. (UNKNOWN_TABLE)", 60, 404),
        ("Code: 62. DB::Exception: Syntax error", 62, 400),
        ("Streaming failed: Code: 241. DB::Exception: Memory", 241, 500),
        ("something else", 1002, 500),
    ],
)
def test_the_engines_words_give_code_and_status(text: str, code: int, status: int) -> None:
    failure = EngineFailure(text)
    assert (failure.code, failure.status) == (code, status)
    assert str(failure).startswith("Code:" if "Code:" in text else text)
