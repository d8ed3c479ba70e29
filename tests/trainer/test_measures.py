"""What a run measures of itself: compute time by rank, memory by stage, traces."""

from __future__ import annotations

import gzip
import json
import time
from itertools import count
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.trainer.conftest import Lab

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*(Transformer Engine|Apex|full scope).*:UserWarning"
)


def test_a_run_measures_itself(lab: Lab) -> None:
    """Every row has compute times and bytes; the traced rank leaves a trace of its steps."""
    profile = {"tool": "torch", "start": 3, "steps": 1, "ranks": [1]}
    layout = {"gpus": 2, "parallel": {"pp": 2, "layers_per_stage": [3, 1]}}
    trial = lab.trial(4, **layout, profile=profile).train()

    rows = trial.lines("metrics")
    for row in rows:
        compute = row["compute_seconds"]
        assert 0 < compute["min"] <= compute["median"] <= compute["max"] < row["step_seconds"]
        assert sorted(slow["rank"] for slow in compute["slowest"]) == [0, 1]
        assert row["memory_bytes"] == max(row["stage_memory_bytes"])
    # fp32: weights, gradients and two moments, 16 bytes for each parameter of a layer, and more.
    layer = 12 * 32**2 + 13 * 32
    most = rows[-1]["stage_memory_bytes"]
    assert 3 * 16 * layer < most[0] < 3 * most[1]
    traces = list(trial.folder.glob("logs/*/trace-*"))
    assert [path.name for path in traces] == ["trace-rank-1-steps-3-3.json.gz"]
    events = json.loads(gzip.decompress(traces[0].read_bytes()))["traceEvents"]
    names = {each.get("name") for each in events}
    assert {"aten::mm", "gloo:recv"} & names


def test_bytes_of_tensors_are_exact() -> None:
    """The peak is what was there plus what was allocated at the same time, to the byte."""
    import torch

    from llmtrain.trainer.memory import HostMemory, living_bytes

    kept = torch.zeros(1000)
    before, memory = living_bytes(), HostMemory()
    first = torch.zeros(1 << 20)
    del first
    second, third = torch.zeros(1 << 20), torch.zeros(1 << 18)

    assert memory.peak() - before == 4 * ((1 << 20) + (1 << 18))
    del second, third
    assert living_bytes() == before
    assert kept.numel() == 1000
    memory.close()


def test_time_in_collectives_is_not_compute(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of nine seconds of which a collective takes one, eight are compute; earlier spans are not."""
    from llmtrain.trainer.waits import HostClock, timed

    seconds = count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(seconds)))
    clock = HostClock()
    timed(lambda: None, clock)()
    start = clock.begin()
    for _ in range(6):
        time.perf_counter()
    timed(lambda: None, clock)()

    assert clock.compute_seconds(start) == 8.0
