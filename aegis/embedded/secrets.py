"""A path in, a password out that is made once and then stays the same."""

from __future__ import annotations

import os
import secrets
from pathlib import Path


def load_or_create_secret(path: Path, *, size_bytes: int = 24) -> str:
    """The secret in the file; made when it is not there, `size_bytes` in hexadecimal digits, for its owner's eyes only."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        secret = secrets.token_hex(size_bytes)
        partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(secret + "\n")
        try:
            # Unlike a rename, a link does not replace what another process may have put there meanwhile.
            os.link(partial, path)
        except FileExistsError:
            return path.read_text().strip()
        finally:
            partial.unlink()
        return secret
