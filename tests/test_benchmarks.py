"""The benchmark runs. What it says depends on the machine, and is no test's business."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from benchmarks.__main__ import BARE, COLD, FEW, FLOOR, MANY, OPEN, PEER, RATIOS, ROLE, SILENT, TOLD, main


@pytest.fixture(autouse=True)
def log_as_before() -> Iterator[None]:
    """The benchmark turns the library's log away from the console."""
    log = logging.getLogger("authguard")
    level, propagate, handlers = log.level, log.propagate, log.handlers[:]
    yield
    log.setLevel(level)
    log.propagate, log.handlers = propagate, handlers


def test_the_benchmark_prints_every_row_and_every_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    """Two rounds of one call are enough to see each row, and each ratio with what it is a ratio to."""
    rows = {BARE, FLOOR, PEER, OPEN, COLD, ROLE, SILENT, TOLD, FEW, MANY}
    rows |= {f"authguard, {algorithm}" for algorithm in ("HS256", "ES256", "EdDSA")}

    main(["--rounds", "2", "--calls", "1"])

    took, ratios = capsys.readouterr().out.split("\n\n")
    assert {line.split("  ")[0] for line in took.splitlines()[2:]} == rows
    told = ratios.splitlines()[1:]
    over = [line.split("  ")[0] for line in told[::2]]
    under = [line.removeprefix("  to ") for line in told[1::2]]
    assert list(zip(over, under, strict=True)) == [(ratio.over, ratio.under) for ratio in RATIOS]
