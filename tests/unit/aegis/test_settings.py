"""Settings: the original names, the order of sources, and refusals that name the setting."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.settings import INSTANCE_FILE, Settings, as_environment, load_settings, setting_name
from topics.errors import Refused

ORIGINAL = [
    "DATABASE_URL", "CLICKHOUSE_HOST", "CLICKHOUSE_DATABASE", "CLICKHOUSE_USER", "CLICKHOUSE_PASSWORD", "TIMESCALE_HOST",
    "TIMESCALE_PORT", "TIMESCALE_DATABASE", "TIMESCALE_USER", "TIMESCALE_PASSWORD", "REDIS_HOST", "REDIS_PORT",
    "NORMALIZER_ENABLED", "JWT_SECRET",
]  # fmt: skip


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(setting_name(name), raising=False)


def test_the_names_of_the_original_system_are_honoured() -> None:
    assert set(ORIGINAL) <= {setting_name(name) for name in Settings.model_fields}


def test_the_environment_wins_over_the_file_and_the_file_over_the_instance(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".aegis").mkdir()
    (tmp_path / ".aegis" / INSTANCE_FILE).write_text("REDIS_PORT='1001'\nAEGIS_PORT='1002'\nREDIS_HOST='instance'\n")
    (tmp_path / ".env").write_text("REDIS_PORT=2001\nAEGIS_PORT=2002\n")
    monkeypatch.setenv("REDIS_PORT", "3001")
    settings = load_settings()
    assert (settings.redis_port, settings.port, settings.redis_host) == (3001, 2002, "instance")
    assert settings.transport_url == "redis://instance:3001/0"
    assert load_settings(beside_instance=False).redis_host == "127.0.0.1"
    assert load_settings(tmp_path / "elsewhere", {"port": 5}).port == 5


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AEGIS_PORT", "70000"),
        ("REDIS_PORT", "six"),
        ("AEGIS_PARTITIONS", "0"),
        ("AEGIS_TRANSPORT", "kafka://127.0.0.1"),
        ("JWT_SECRET", "short"),
        ("AEGIS_MASTER_KEY", "not hex"),
        ("CLICKHOUSE_DATABASE", "a; DROP TABLE x"),
        ("AEGIS_RETENTION", "perhaps"),
        ("AEGIS_BODY_BYTES_MAX", "-1"),
        ("NORMALIZER_ENABLED", "maybe"),
    ],
)
def test_a_value_that_is_not_acceptable_is_refused_by_name(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(Refused, match=name) as caught:
        load_settings()
    if "SECRET" in name or "KEY" in name:
        assert value not in caught.value.reason


def test_secrets_are_not_shown_but_handed_on() -> None:
    settings = load_settings(None, {"jwt_secret": "s" * 40, "master_key": "ab" * 32})
    assert "sss" not in repr(settings)
    assert "abab" not in repr(settings)
    handed_on = as_environment({"jwt_secret": settings.jwt_secret, "port": 7, "data_dir": Path("x")})
    assert handed_on == {"JWT_SECRET": "s" * 40, "AEGIS_PORT": "7", "AEGIS_DATA_DIR": "x"}


def test_the_password_of_the_transport_is_not_shown() -> None:
    settings = load_settings(None, {"transport": "redis://user:hunter2@there:7000/3"})
    assert "hunter2" not in repr(settings) + settings.transport_address
    assert settings.transport_address == "redis://there:7000/3"
    assert settings.transport_url == "redis://user:hunter2@there:7000/3"
