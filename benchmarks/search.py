"""The search measured: ``python -m benchmarks.search [--json]``. CPU seconds of one core.

Candidates are counted by what becomes of them: pruned because they do not fit, left out because
the same layout fits with less recompute, or timed. The closest peer, Calculon, does 127 to 261
candidates a CPU-second.
"""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from time import process_time

# One core: before NumPy starts its threads.
os.environ["OMP_NUM_THREADS"] = os.environ["OPENBLAS_NUM_THREADS"] = "1"

from llmtrain.config.compose import compose
from llmtrain.planner.search.expand import program_of, with_states, with_switches
from llmtrain.planner.search.layouts import step_seconds
from llmtrain.planner.search.rank import Found, search
from llmtrain.planner.search.space import Space, space_of
from llmtrain.planner.search.structures import rows, structures

CASES = (
    ("recipe=gpt3-175b", "gpus=512"),
    ("recipe=mt-nlg-530b", "gpus=2240"),
    ("recipe=mt-nlg-530b", "gpus=2240", "batch.ramp=null"),
    ("recipe=llama3-405b",),
    ("recipe=mixtral-8x7b",),
)
MOST = 150_000
"""Candidates that are timed to measure the rate."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Measured:
    """One search."""

    case: str
    """Arguments."""
    cpu_seconds: float
    """Of the whole search, the checks of the winners included."""
    legal: int
    """Candidates that break no rule."""
    pruned: int
    """Of these: do not fit."""
    slower: int
    """Of these: fit with less recompute too."""
    timed: int
    """Candidates timed, rank orders and overlaps counted apart."""
    legal_per_cpu_second: float
    """Candidates decided in a CPU-second of the whole search."""
    timed_per_cpu_second: float
    """Rate of the step-time model alone."""
    step_seconds: float | None
    """Of the best."""
    overrides: tuple[str, ...]
    """The best."""


def measured(case: Sequence[str]) -> Measured:
    """Search once and time the step-time model on its own."""
    recipe = compose(case)
    seconds, found = _timed(lambda: search(recipe))
    best = found.offers[0] if found.offers else None
    return Measured(
        case=" ".join(case),
        cpu_seconds=seconds,
        legal=found.legal,
        pruned=found.pruned,
        slower=found.slower,
        timed=found.timed,
        legal_per_cpu_second=found.legal / seconds,
        timed_per_cpu_second=_rate(space_of(recipe)),
        step_seconds=float(best.step.seconds) if best else None,
        overrides=best.overrides if best else (),
    )


def _timed(call: Callable[[], Found]) -> tuple[float, Found]:
    start = process_time()
    found = call()
    return process_time() - start, found


def _rate(space: Space) -> float:
    """Candidates of all pipelines, whether they fit or not, in all rank orders and overlaps."""
    program = program_of(space)
    every = structures(space)
    each = max(1, len(every["tp"]) * len(space.recomputes) // MOST)
    table = with_switches(program, with_states(program, rows(every, slice(None, None, each))))
    table = rows(table, slice(0, MOST))
    start = process_time()
    step_seconds(space, table)
    return len(table["tp"]) / (process_time() - start)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table, or everything as JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.search", description=__doc__)
    parser.add_argument("--json", action="store_true", help="every case as JSON")
    parser.add_argument("case", nargs="*", help="one case of your own: recipe=NAME [key=value…]")
    asked = parser.parse_args(arguments)
    found = [measured(case) for case in ([tuple(asked.case)] if asked.case else CASES)]
    if asked.json:
        print(json.dumps({"searches": [asdict(one) for one in found]}, indent=2))
        return 0
    print(
        f"{'case':50}{'CPU s':>7}{'legal':>10}{'pruned':>10}{'slower':>9}{'timed':>9}"
        f"{'legal/s':>10}{'timed/s':>10}"
    )
    for one in found:
        print(
            f"{one.case:50}{one.cpu_seconds:7.2f}{one.legal:10,}{one.pruned:10,}{one.slower:9,}"
            f"{one.timed:9,}{one.legal_per_cpu_second:10,.0f}{one.timed_per_cpu_second:10,.0f}"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
