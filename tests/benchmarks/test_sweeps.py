"""Published sweeps: the model picks a layout that was measured among the best."""

import json
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_layout_ranked_first_is_hardly_slower_than_the_best() -> None:
    """Median regret at most 3 % over the sweeps of Aleph Alpha and BLOOM."""
    command = [sys.executable, "-m", "benchmarks.sweeps", "--json"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    told = json.loads(done.stdout)

    assert len(told["sweeps"]) >= 20
    assert {one["family"] for one in told["sweeps"]} == {"alephalpha_layouts", "bloom_176b"}
    assert told["median_regret_percent"] <= 3.0
    top = [one for one in told["sweeps"] if one["rank_of_best"] <= 3]
    assert len(top) >= 0.8 * len(told["sweeps"])
    assert all(one["layouts"] > 50 for one in told["winners"]) and len(told["winners"]) == 4
