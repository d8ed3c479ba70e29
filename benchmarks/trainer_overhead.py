"""Tokens per second of the trainer's loop against a bare loop over the same megatron-core model.

``python -m benchmarks.trainer_overhead [--json]`` starts two processes (tp 2) that hold one model
and one optimizer. They take turns: some steps of the trainer's own loop, with data, agreement,
metrics, TensorBoard, progress and checkpoints every ``--interval`` steps (0: none); then as many
steps that only call megatron-core's schedule and optimizer on a batch that is already there. The
aim is a ratio of 0.97 and more. Where others use the machine, ``cpu_ratio`` is steadier: the same
from the seconds that the processor worked for the first process.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from llmtrain.config.build import build
from llmtrain.config.files import dump_recipe, read_recipe
from llmtrain.config.recipe import Recipe

RANKS = 2

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
"""What the local launcher sets on a machine without GPUs."""


class Seconds(NamedTuple):
    """How long some steps took."""

    wall: float
    """By the clock."""
    cpu: float
    """Of the processor, for all threads of this process."""


def recipe(given: argparse.Namespace) -> Recipe:
    """The shape of gpt-tiny."""
    machine = {
        "name": "local-cpu",
        "device": "cpu",
        "gpu": {"name": "cpu", "arch": "cpu"},
        "gpus_per_node": RANKS,
    }
    model = {"layers": 4, "hidden": 128, "heads": 4, "vocab": 256, "seq": 128, "positions": "rope"}
    values: dict[str, Any] = {
        "name": "overhead",
        "gpus": RANKS,
        "model": model,
        "cluster": machine,
        "backend": {"name": "megatron-core"},
        "parallel": {"tp": RANKS},
        "batch": {"micro": 8, "global": 8},
        "precision": {"kind": "fp32"},
        "data": {"kind": given.data},
        "checkpoint": {"interval": given.interval or None, "async": given.saving == "async"},
        "run": {"steps": 100_000},
    }
    return build(Recipe, values)


def main() -> None:
    """Measure, or be one of the measured processes."""
    parser = argparse.ArgumentParser(prog="benchmarks.trainer_overhead", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--steps", type=int, default=4, help="of each side in a round")
    parser.add_argument("--data", choices=("mock", "stdlib"), default="stdlib")
    parser.add_argument("--interval", type=int, default=50, help="steps between checkpoints")
    parser.add_argument("--saving", choices=("async", "sync"), default="async")
    parser.add_argument("--rank-of", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.rank_of:
        score = take_turns(given.rank_of, given.rounds, given.steps)
        (given.rank_of / f"score-{os.environ['RANK']}.json").write_text(json.dumps(score))
        return
    score = launch(given)
    print(json.dumps(score) if given.json else describe(score))


def launch(given: argparse.Namespace) -> dict[str, Any]:
    """Start the processes and read what the first of them measured."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(dump_recipe(recipe(given)))
        torchrun = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={RANKS}"]
        worker = ["-m", "benchmarks.trainer_overhead", "--rank-of", name]
        counts = [f"--rounds={given.rounds}", f"--steps={given.steps}"]
        command = [sys.executable, *torchrun, *worker, *counts]
        subprocess.run(command, env=os.environ | ENVIRONMENT, check=True)
        score: dict[str, Any] = json.loads((folder / "score-0.json").read_text())
        return score | {"interval": given.interval, "saving": given.saving} | saves(folder)


def saves(folder: Path) -> dict[str, Any]:
    """How many checkpoints were written, and the median seconds of one."""
    events = [json.loads(line) for line in (folder / "events.jsonl").read_text().splitlines()]
    done = [event for event in events if event["event"] == "checkpoint"]
    times = {
        f"save_{name}": median(event[name] for event in done) if done else None
        for name in ("seconds", "blocked_seconds")
    }
    return {"saves": len(done), **times}


def describe(score: dict[str, Any]) -> str:
    """The score in words."""
    ratios = (
        f"ratio {score['ratio']:.3f}, in all {score['total_ratio']:.3f}, "
        f"of the processor {score['cpu_ratio']:.3f}; aim 0.97"
    )
    return (
        f"trainer {score['trainer_tokens_per_second']:,.0f} tokens/s, "
        f"bare loop {score['bare_tokens_per_second']:,.0f} tokens/s, {ratios} "
        f"({score['rounds']} rounds of {score['steps']} steps; "
        f"{score['saves']} checkpoints, {score['saving']})"
    )


def take_turns(folder: Path, rounds: int, steps: int) -> dict[str, Any]:
    """One rank: both loops over one model, in turn."""
    from llmtrain.trainer.control import Requests
    from llmtrain.trainer.device import choose
    from llmtrain.trainer.rank import Rank
    from llmtrain.trainer.streams import keep_terminal, log_path

    rank, given = Rank.read(), read_recipe(folder / "recipe.yaml")
    keep_terminal(log_path(folder, rank))
    device = choose(given, rank)

    from llmtrain.trainer import groups
    from llmtrain.trainer.places import all_places
    from llmtrain.trainer.run import Run
    from llmtrain.trainer.watchdog import Watchdog

    requests = Requests(folder=folder, leads=rank.leads)
    with open(os.devnull, "w") as terminal:
        run = Run(
            folder=folder,
            recipe=given,
            rank=rank,
            device=device,
            requests=requests,
            terminal=terminal,
            watchdog=Watchdog(folder, rank, given.hang),
        )
        position = groups.join(given, rank, device)
        stepper, checkpoints = run.assemble(position)
        loop = run.loop(stepper, checkpoints, all_places(position.pp, rank.node))
        if loop.journal:
            loop.journal.begin(0)
        seconds = alternate(loop.advance, bare(stepper), rounds, steps)
        groups.leave()
    tokens = given.batch.global_ * given.model.seq * steps
    return summary(seconds, tokens, steps)


def alternate(
    ours: Callable[[int], Any], theirs: Callable[[int], Any], rounds: int, steps: int
) -> list[tuple[Seconds, Seconds]]:
    """Seconds of both sides in each round; who begins changes, and the first does not count."""
    seconds = []
    for turn in range(rounds + 1):
        if turn % 2:
            bare_seconds = timed(theirs, steps, turn)
            seconds.append((timed(ours, steps, turn), bare_seconds))
        else:
            seconds.append((timed(ours, steps, turn), timed(theirs, steps, turn)))
    return seconds[1:]


def timed(side: Callable[[int], Any], steps: int, turn: int) -> Seconds:
    """Seconds of ``steps`` steps."""
    import torch.distributed as dist

    dist.barrier()
    started, worked = time.perf_counter(), time.process_time()
    for done in range(turn * steps, (turn + 1) * steps):
        side(done)
    dist.barrier()
    return Seconds(time.perf_counter() - started, time.process_time() - worked)


def bare(stepper: Any) -> Callable[[int], None]:
    """A loop that does nothing but train, always on the same batch."""
    from megatron.core.pipeline_parallel import get_forward_backward_func

    from llmtrain.trainer.megatron_engine import forward

    batch = list(stepper.batches.step(0))
    engine = stepper.engine
    (model,) = engine.chunks
    schedule = get_forward_backward_func()

    def step(done: int) -> None:
        data: Iterator[Any] = iter(batch)
        model.zero_grad_buffer()
        engine.optimizer.zero_grad()
        schedule(
            forward_step_func=forward,
            data_iterator=data,
            model=model,
            num_microbatches=len(batch),
            seq_length=stepper.recipe.model.seq,
            micro_batch_size=stepper.recipe.batch.micro,
            forward_only=False,
        )
        engine.optimizer.step()

    return step


def summary(seconds: list[tuple[Seconds, Seconds]], tokens: int, steps: int) -> dict[str, Any]:
    """Speeds and their ratio from the seconds of each round, trainer first."""
    ours, theirs = ([pair[side] for pair in seconds] for side in (0, 1))
    return {
        "trainer_tokens_per_second": tokens / median(each.wall for each in ours),
        "bare_tokens_per_second": tokens / median(each.wall for each in theirs),
        "ratio": median(other.wall / our.wall for our, other in seconds),
        # Rounds without a checkpoint outnumber those with one, so only the sum shows its cost.
        "total_ratio": sum(each.wall for each in theirs) / sum(each.wall for each in ours),
        "cpu_ratio": sum(each.cpu for each in theirs) / sum(each.cpu for each in ours),
        "rounds": len(seconds),
        "steps": steps,
    }


if __name__ == "__main__":
    main()
