"""A run second by second, as a recording keeps it. Pure."""

from __future__ import annotations

from wherry.contract.recording import Second
from wherry.stress.report import Report

WINDOW = 1.0  # seconds that are counted together in a run that is recorded


def seconds_of(report: Report) -> tuple[Second, ...]:
    """What load offered and had answered in each second of a run whose windows are seconds."""
    series = report.series
    failed = [sum(counts) for counts in zip(*series.failed.values(), strict=True)] or [0] * len(series.at)
    return tuple(
        Second(
            at=at,
            offered=round(series.offered[k], 3),
            sent=series.ok[k] + failed[k],
            ok=series.ok[k],
            failed=failed[k],
            p50=series.p50[k],
            p90=series.p90[k],
            p99=series.p99[k],
            max=series.max[k],
        )
        for k, at in enumerate(series.at)
    )
