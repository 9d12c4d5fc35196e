"""How long an example takes depends on who else uses the machine; what it gives does not."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("aegis", deadline=None)
settings.load_profile("aegis")
