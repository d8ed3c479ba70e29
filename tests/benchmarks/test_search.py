"""``python -m benchmarks.search``: what becomes of every candidate is counted apart."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_candidates_are_counted_apart() -> None:
    """Pruned, left out and timed, with the rate of each; how fast is not asserted here."""
    command = [sys.executable, "-m", "benchmarks.search", "--json", "recipe=gpt3-175b", "gpus=512"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    (one,) = json.loads(done.stdout)["searches"]

    assert one["legal"] > 30_000
    assert 0 < one["pruned"] < one["legal"] - one["slower"]
    assert one["timed"] >= one["legal"] - one["pruned"] - one["slower"]
    assert one["cpu_seconds"] > 0 and one["timed_per_cpu_second"] > 0
    assert one["overrides"] and one["step_seconds"] > 0
