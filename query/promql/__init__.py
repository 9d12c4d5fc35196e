"""PromQL over columns: text -> an expression, what must be read for it, and its answer; no I/O but through a `SeriesSource`."""
