"""The same model and layout under each engine of the trainer: tokens/s and peak bytes of tensors.

    python -m benchmarks.engines [--rounds N] [--steps N] [--json]

Every engine trains in processes of its own, in turn, so that what else the machine does meets all.
Speed is the median step of all rounds; the first steps, whose allocations are followed, are left
out. Bytes are the most of any rank, from those steps. Losses are compared too: engines that differ
would not be worth comparing.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from llmtrain.config.build import build
from llmtrain.config.files import dump_recipe
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends import program
from llmtrain.planner.plan import make_plan

FOLLOWED = 4
"""Steps whose allocations are followed, and one more."""

ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}

MODEL = {
    "layers": 4,
    "hidden": 256,
    "heads": 4,
    "kv_heads": 2,
    "ffn": 704,
    "vocab": 2048,
    "seq": 128,
    "activation": "swiglu",
    "norm": "rmsnorm",
    "positions": "rope",
    "tied": False,
    "bias": False,
}
"""A LLaMA of 4 million parameters."""

EXPERTS = MODEL | {"experts": 8, "topk": 2, "moe_ffn": 176}
"""The same with experts, of which two are as wide as half its feed-forward."""

ENGINES: dict[str, tuple[tuple[str, int], ...]] = {
    "dp 2": (("megatron-core", 0), ("deepspeed", 0)),
    "dp 2, optimizer cut": (("megatron-core", 1), ("deepspeed", 1)),
    "dp 2, gradients cut": (("deepspeed", 2),),
    "dp 2, weights cut": (("deepspeed", 3),),
    "tp 2": (("megatron-core", 0), ("megatron-core+deepspeed", 0)),
    "pp 2": (("megatron-core", 0), ("deepspeed", 0)),
    "ep 2": (
        ("megatron-core", 0),
        ("megatron-core+deepspeed", 0),
        ("megatron-core+deepspeed", 2),
        ("megatron-core+deepspeed", 3),
    ),
}
"""Layout -> backends and ZeRO stages that train it."""

PARALLEL = {"tp 2": {"tp": 2}, "pp 2": {"pp": 2}, "ep 2": {"ep": 2}}
"""Layout -> recipe keys; the others are data parallel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trained:
    """One run."""

    tokens_per_second: float
    """Of the median step."""
    memory_bytes: int
    """Of the worst rank."""
    losses: tuple[float, ...]
    """Of every step."""


def has_experts(layout: str) -> bool:
    """Whether a layout is for the model with experts."""
    return layout == "ep 2"


def recipe(layout: str, backend: str, zero: int, steps: int) -> Recipe:
    """What one engine trains."""
    values: dict[str, Any] = {
        "name": "engines",
        "gpus": 2,
        "model": EXPERTS if has_experts(layout) else MODEL,
        "cluster": {
            "name": "local-cpu",
            "device": "cpu",
            "gpu": {"name": "cpu", "arch": "cpu"},
            "gpus_per_node": 2,
        },
        "backend": {"name": backend},
        "parallel": PARALLEL.get(layout, {}),
        "batch": {"micro": 1, "global": 8},
        "precision": {"kind": "fp32"},
        "optim": {"zero": zero, "lr": 1e-3},
        "schedule": {"kind": "constant"},
        "data": {"kind": "mock"},
        "checkpoint": {"async": False},
        "run": {"steps": steps, "seed": 1},
    }
    return build(Recipe, values)


def train(asked: Recipe) -> Trained:
    """Run it, and read what it wrote."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "recipe.yaml").write_text(dump_recipe(asked))
        for file, text in program(make_plan(asked)).files.items():
            (folder / file).write_text(text)
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
        subprocess.run(
            [sys.executable, *torchrun, "-m", "llmtrain.trainer", name],
            env=os.environ | ENVIRONMENT,
            stderr=subprocess.DEVNULL,
            check=True,
        )
        lines = (folder / "metrics.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return Trained(
        tokens_per_second=median(row["tokens_per_second"] for row in rows[FOLLOWED:]),
        memory_bytes=max(row["memory_bytes"] for row in rows),
        losses=tuple(row["loss"] for row in rows),
    )


def measure(rounds: int, steps: int) -> list[dict[str, Any]]:
    """A row for each layout and engine."""
    asked = [(layout, *each) for layout, engines in ENGINES.items() for each in engines]
    found: dict[tuple[str, str, int], list[Trained]] = {each: [] for each in asked}
    for _ in range(rounds):
        for each in asked:
            found[each].append(train(recipe(*each, steps)))
    # The first engine of each model.
    first = {has_experts(each[0]): runs[0].losses for each, runs in reversed(found.items())}
    return [
        {
            "layout": layout,
            "backend": backend,
            "zero": zero,
            "tokens_per_second": median(one.tokens_per_second for one in runs),
            "memory_bytes": max(one.memory_bytes for one in runs),
            "loss_difference": max(
                abs(loss - other)
                for one in runs
                for loss, other in zip(one.losses, first[has_experts(layout)], strict=True)
            ),
        }
        for (layout, backend, zero), runs in found.items()
    ]


def describe(rows: list[dict[str, Any]]) -> str:
    """The rows as text."""
    head = f"{'layout':<22}{'engine':<26}{'ZeRO':>4}{'tokens/s':>10}{'MiB':>8}{'loss, off by':>14}"
    lines = [
        f"{row['layout']:<22}{row['backend']:<26}{row['zero']:>4}"
        f"{row['tokens_per_second']:>10,.0f}{row['memory_bytes'] / 2**20:>8.1f}"
        f"{row['loss_difference']:>14.1e}"
        for row in rows
    ]
    return "\n".join((head, *lines))


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.engines", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    given = parser.parse_args()
    rows = measure(given.rounds, given.steps)
    print(json.dumps({"rows": rows}) if given.json else describe(rows))


if __name__ == "__main__":
    main()
