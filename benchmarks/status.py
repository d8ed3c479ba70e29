"""``llmtrain status`` over many runs: ``python -m benchmarks.status [--runs N]``; aim 0.5 s.

The runs are folders as runs leave them: seven of ten finished, the others failed, stopped or were
cancelled; a third of them went to Slurm. Nothing runs. The first call builds the index.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

COMMAND = str(Path(sys.executable).with_name("llmtrain"))
AIM_SECONDS = 0.5
STEPS = 50
ENDS = (*["finished"] * 7, "failed", "stopped", "cancelled")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.status", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    scores = measure(given.runs, given.rounds)
    print(json.dumps(scores) if given.json else describe(scores))


def measure(runs: int, rounds: int) -> dict[str, Any]:
    """Seconds of the first call, of later ones (median), and of those the command's own start.

    The processor's seconds too: on a machine that others use they say more than the clock.
    """
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        for number in range(runs):
            make_run(root / f"gpt-{number:05d}", number)
        first, _ = seconds(root, "status")
        later = [seconds(root, "status") for _ in range(rounds)]
        whole = [seconds(root, "status", "--all") for _ in range(rounds)]
        start = [seconds(root, "--version") for _ in range(rounds)]
    return {
        "runs": runs,
        "first_seconds": first,
        "seconds": median(clock for clock, _ in later),
        "processor_seconds": median(used for _, used in later),
        "all_seconds": median(clock for clock, _ in whole),
        "start_seconds": median(clock for clock, _ in start),
        "aim_seconds": AIM_SECONDS,
    }


def make_run(folder: Path, number: int) -> None:
    """A run that has ended, with its events, its metrics and its plan."""
    end = ENDS[number % len(ENDS)]
    (folder / "control").mkdir(parents=True)
    (folder / "launch.json").write_text('{"script": "job.sh"}\n')
    (folder / "plan.json").write_text(json.dumps({"steps": STEPS, "step_seconds": 1.0}))
    events = [_event("launched", None), _event("started", 0), _event("checkpoint", STEPS)]
    events.append(_event(end, STEPS) | ({"error": "no memory"} if end == "failed" else {}))
    (folder / "events.jsonl").write_text("".join(f"{json.dumps(each)}\n" for each in events))
    rows = [{"step": step, "loss": 2.5, "tokens_per_second": 9.5} for step in range(1, STEPS + 1)]
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    if number % 3 == 0:
        (folder / "control" / "slurm.json").write_text(json.dumps({"job": str(number + 1)}))


def _event(kind: str, step: int | None) -> dict[str, Any]:
    return {"time": "2026-01-01T00:00:00.000+00:00", "event": kind, "step": step}


def seconds(root: Path, *arguments: str) -> tuple[float, float]:
    """Of one command: by the clock, and of the processor."""
    environment = os.environ | {"LLMTRAIN_RUNS": str(root)}
    before, started = os.times(), time.perf_counter()
    subprocess.run(
        [COMMAND, *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
        check=True,
    )
    clock, after = time.perf_counter() - started, os.times()
    used = after.children_user + after.children_system
    return clock, used - before.children_user - before.children_system


def describe(scores: dict[str, Any]) -> str:
    """The scores in words."""
    return (
        f"llmtrain status over {scores['runs']} runs: {scores['seconds']:.3f} s "
        f"({scores['processor_seconds']:.3f} s of the processor; the start of the command alone "
        f"{scores['start_seconds']:.3f} s; aim {scores['aim_seconds']} s); "
        f"--all {scores['all_seconds']:.3f} s; the first call {scores['first_seconds']:.1f} s"
    )


if __name__ == "__main__":
    main()
