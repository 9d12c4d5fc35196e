"""What `aegis up` writes for commands beside it is read back as it was, whatever the folder is called."""

from __future__ import annotations

from pathlib import Path

import pytest

from aegis.instance import remove_instance_file, write_instance_file
from aegis.settings import INSTANCE_FILE, as_environment, load_settings


@pytest.mark.parametrize(
    "name", ["plain", "it's mine", 'a "quoted" one', "back\\slash", "sp ace", "dollar$HOME", "#hash"]
)
def test_a_data_folder_of_any_name(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / name
    folder.mkdir()
    write_instance_file(folder, as_environment({"data_dir": folder, "redis_port": 7001}))
    assert (folder / INSTANCE_FILE).stat().st_mode & 0o777 == 0o600
    settings = load_settings(folder)
    assert (settings.data_dir, settings.redis_port) == (folder, 7001)
    remove_instance_file(folder)
    assert load_settings(folder).redis_port == 6379
