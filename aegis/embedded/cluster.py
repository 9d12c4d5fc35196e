"""Folders and an account in, a PostgreSQL cluster that can be started out: made once, and cleared of what a crash left.

As root everything that runs is run as the account, and no mode of any folder that was there before is changed.
"""

from __future__ import annotations

import logging
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from aegis.embedded.accounts import blocking_path
from aegis.supervision.spec import Account
from topics.errors import Refused

log = logging.getLogger("aegis.embedded")

# What a running server needs of the wheel: 30 of its 41 MB.
_PROGRAMS = ("postgres", "initdb")
_ORPHANS_TIMEOUT_S = 5.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """One cluster: `folder/data` is PGDATA. `package` is the wheel's package folder. `account` is None for our own user."""

    folder: Path
    package: Path
    account: Account | None
    user: str
    database: str
    password: str
    env: Mapping[str, str]

    @property
    def data(self) -> Path:
        """PGDATA."""
        return self.folder / "data"

    @property
    def programs(self) -> Path:
        """The folder of the programs to run: the wheel's, or our copy when the account cannot use the wheel's."""
        package = self.package if self._reaches_package() else self._copy_folder / self.package.name
        return package / "pginstall" / "bin"

    def prepare(self) -> None:
        """Make the cluster if there is none, and clear what a killed one left. Blocks, for a second or two the first time.

        Copies 30 MB of programs when the account cannot reach the wheel's. Raises `Refused`: a parent folder is closed to the
        account, the data belong to somebody else or to another version, a program fails.
        """
        self._make_folder()
        if self.account is not None:
            blocker = blocking_path(self.folder, self.account)
            if blocker is not None:
                raise Refused(
                    f"cannot start PostgreSQL: it does not run as root, and the user {self.account.name} may not enter {blocker} "
                    f"on the way to {self.folder}; set AEGIS_DATA_DIR to a folder that all may enter, such as /var/lib/aegis",
                    code="data_dir_unreachable",
                )
        if not self._reaches_package() and not self._copy_folder.exists():
            log.info(
                "copying PostgreSQL to %s, because %s cannot be reached by its user", self._copy_folder, self.package
            )
            self._copy_package()
        if (self.data / "PG_VERSION").exists():
            self._check_data()
            self._clear_crash()
        elif self.data.exists() and any(self.data.iterdir()):
            raise Refused(
                f"cannot start PostgreSQL: {self.data} holds something, and it is no PostgreSQL cluster; move it away",
                code="not_a_cluster",
            )
        else:
            self._create()

    def _make_folder(self) -> None:
        if not self.folder.exists():
            self.folder.mkdir(parents=True)
            # The account must pass through; what is secret in here has modes of its own.
            self.folder.chmod(0o711)

    def _check_data(self) -> None:
        owner = self.data.stat().st_uid
        runner = self.account.uid if self.account else os.geteuid()
        if owner != runner:
            raise Refused(
                f"cannot start PostgreSQL: {self.data} belongs to uid {owner}, and the server would run as uid {runner}; "
                "run aegis as the user that made it, or choose another AEGIS_DATA_DIR",
                code="wrong_owner",
            )
        made_by = (self.data / "PG_VERSION").read_text().strip()
        version = self._run(self.programs / "postgres", "--version").stdout.split()[-1]
        if version.split(".")[0] != made_by:
            raise Refused(
                f"cannot start PostgreSQL: {self.data} was made by version {made_by}, and version {version} is installed",
                code="wrong_version",
            )

    def _create(self) -> None:
        """In a folder aside, renamed when it is complete, so that a kill on the way leaves nothing half made."""
        partial = self.folder / "data.partial"
        password_file = self.folder / "password.partial"
        shutil.rmtree(partial, ignore_errors=True)
        self._make_private(partial)
        descriptor = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(self.password)
        self._give(password_file)
        try:
            self._run(
                self.programs / "initdb",
                "--pgdata", str(partial),
                "--username", self.user,
                "--pwfile", str(password_file),
                "--auth", "scram-sha-256",
                "--encoding", "UTF8",
                "--locale", "C",
                "--locale-provider", "builtin",
                "--builtin-locale", "C.UTF-8",
                "--no-instructions",
            )  # fmt: skip
        finally:
            password_file.unlink()
        self._run(
            self.programs / "postgres",
            "--single",
            "-D",
            str(partial),
            "postgres",
            text=f'CREATE DATABASE "{self.database}"\n',
        )
        partial.rename(self.data)

    def _clear_crash(self) -> None:
        """Stop server processes that outlived their supervisor, then remove the pid file, which may name a reused pid."""
        deadline = time.monotonic() + _ORPHANS_TIMEOUT_S
        while orphans := _server_processes(self.data):
            number = signal.SIGQUIT if time.monotonic() < deadline else signal.SIGKILL
            for pid in orphans:
                with suppress(ProcessLookupError):
                    os.kill(pid, number)
            time.sleep(0.05)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    @property
    def _copy_folder(self) -> Path:
        return self.folder / "install"

    def _reaches_package(self) -> bool:
        if self.account is None:
            return True
        needed = (
            self.package / "pginstall" / "bin" / "postgres",
            self.package / "pginstall" / "share" / "postgres.bki",
        )
        return all(blocking_path(path, self.account) is None for path in needed)

    def _copy_package(self) -> None:
        partial = self.folder / "install.partial"
        shutil.rmtree(partial, ignore_errors=True)
        programs = partial / self.package.name / "pginstall" / "bin"
        programs.mkdir(parents=True)
        for name in _PROGRAMS:
            shutil.copy2(self.package / "pginstall" / "bin" / name, programs / name)
        for part in ("lib", "share"):
            shutil.copytree(self.package / "pginstall" / part, programs.parent / part, symlinks=True)
        # The programs find these beside their package, by a path relative to themselves.
        libraries = self.package.with_name(f"{self.package.name}.libs")
        if libraries.exists():
            shutil.copytree(libraries, partial / libraries.name, symlinks=True)
        for path in (partial, *partial.rglob("*")):
            if not path.is_symlink():
                path.chmod(0o755 if path.is_dir() or path.parent == programs else 0o644)
        partial.rename(self._copy_folder)

    def _make_private(self, folder: Path) -> None:
        folder.mkdir(mode=0o700)
        self._give(folder)

    def _give(self, path: Path) -> None:
        if self.account is not None:
            os.chown(path, self.account.uid, self.account.gid)

    def _run(self, *command: Path | str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run a program of the wheel as the account. Raises `Refused` with its own words when it fails."""
        account = self.account
        done = subprocess.run(
            [str(part) for part in command],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            cwd=self.folder,
            env=dict(self.env),
            user=account.uid if account else None,
            group=account.gid if account else None,
            extra_groups=[] if account else None,
        )
        if done.returncode != 0:
            words = (done.stderr or done.stdout).strip()
            raise Refused(
                f"cannot start PostgreSQL: {Path(command[0]).name} ended with code {done.returncode}: {words}"
            )
        return done


def _server_processes(data: Path) -> list[int]:
    """Pids of the processes of a server on this data folder, the first one and its children: each works in that folder."""
    found: list[int] = []
    folder = str(data.resolve())
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            works_here = os.readlink(entry / "cwd").removesuffix(" (deleted)") == folder
            program = Path(os.readlink(entry / "exe").removesuffix(" (deleted)")).name
        except OSError:
            continue  # It has ended, or belongs to somebody else.
        if works_here and program == "postgres":
            found.append(int(entry.name))
    return found
