"""What an answer says about itself beside its values: Prometheus' annotations."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from query.promql.source import Floats

_COUNTER_ENDS = ("_total", "_sum", "_count", "_bucket")
NOTES_MAX = 10
"""Of each kind; a note names a metric, and there may be many."""


@dataclass(slots=True)
class Notes:
    """Warnings (the answer may not be what was meant) and infos, each once, in the order in which they were found."""

    warnings: dict[str, None] = field(default_factory=dict)
    infos: dict[str, None] = field(default_factory=dict)

    def warn(self, text: str) -> None:
        if len(self.warnings) < NOTES_MAX:
            self.warnings[f"PromQL warning: {text}"] = None

    def inform(self, text: str) -> None:
        if len(self.infos) < NOTES_MAX:
            self.infos[f"PromQL info: {text}"] = None

    def check_quantile(self, phi: Floats) -> None:
        for value in phi[~((phi >= 0) & (phi <= 1))][:1].tolist():
            written = "NaN" if np.isnan(value) else f"{value:+g}" if np.isinf(value) else f"{value:g}"
            self.warn(f"quantile value should be between 0 and 1, got {written.replace('inf', 'Inf')}")

    def check_counter(self, name: str) -> None:
        if name and not name.endswith(_COUNTER_ENDS):
            self.inform(f'metric might not be a counter, name does not end in _total/_sum/_count/_bucket: "{name}"')
