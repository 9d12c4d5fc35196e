"""Nothing in, chDB's extension module out, without the rest of its package.

The package's `__init__` imports pyarrow and numpy and opens a throwaway engine: 0.25 s and 45 MB that a server never uses.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

from topics.errors import Refused


def load_extension() -> Any:
    """The module `chdb._chdb`. Raises `Refused` when no chDB wheel is installed.

    Afterwards `import chdb` gives an empty package in this process; nothing else here uses it.
    """
    if "chdb._chdb" in sys.modules:
        return sys.modules["chdb._chdb"]
    spec = importlib.util.find_spec("chdb")
    if spec is None or spec.origin is None:
        raise Refused(
            "cannot start ClickHouse: no chdb wheel is installed (pip install chdb-core-lite)", code="not_installed"
        )
    folder = Path(spec.origin).parent
    package = types.ModuleType("chdb")
    package.__path__ = [str(folder)]
    sys.modules["chdb"] = package
    if sys.platform == "linux":
        # As chDB does: RTLD_DEEPBIND makes the library find its own allocator before anybody else's.
        for library in folder.glob("_chdb*.so"):
            ctypes.CDLL(str(library), mode=sys.getdlopenflags() | 0x8)
    module = importlib.import_module("chdb._chdb")
    # Signals belong to the server that runs the engine, which finishes what runs and then stops.
    module.set_signal_handlers_enabled(False)
    return module
