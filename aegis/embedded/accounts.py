"""Root's wish to run a program that refuses root in; an unprivileged account, and whether it can reach a folder, out."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path

from aegis.supervision.spec import Account
from topics.errors import Refused


def unprivileged_account(folder: Path) -> Account | None:
    """The account to run as when this process is root, None (its own) when it is not.

    It is the owner of `folder`, or of its nearest parent that exists, when that is not root, else `nobody`. Raises `Refused`
    when this machine has no such account.
    """
    if os.geteuid() != 0:
        return None
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    owner = existing.stat().st_uid
    try:
        entry = pwd.getpwuid(owner) if owner != 0 else pwd.getpwnam("nobody")
    except KeyError:
        who = f"uid {owner}, which owns {existing}," if owner else "nobody"
        raise Refused(
            f"cannot start PostgreSQL: it does not run as root, and the user {who} is not in this machine's list of users; "
            "set AEGIS_DATA_DIR to a folder of a user that is",
            code="no_account",
        ) from None
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def blocking_path(path: Path, account: Account) -> Path | None:
    """The first thing on the way to `path` that keeps the account out: a folder it may not enter, or a file it may not read.

    None when it reaches the path, or when the path is not there. Looks at modes only, not at access lists.
    """
    for step in (*reversed(path.resolve().parents), path.resolve()):
        try:
            info = step.stat()
        except FileNotFoundError:
            return None
        needed = stat.S_IXOTH if stat.S_ISDIR(info.st_mode) else stat.S_IROTH
        # The three sets of bits lie three apart: owner, group, others.
        shift = 6 if info.st_uid == account.uid else 3 if info.st_gid == account.gid else 0
        if not info.st_mode & (needed << shift):
            return step
    return None
