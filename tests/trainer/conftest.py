"""Tiny recipes, and real launches of them."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from llmtrain.config.build import build
from llmtrain.config.files import dump_recipe, read_recipe
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.backends import program
from llmtrain.planner.plan import make_plan
from llmtrain.runs.checkpoints.check import check
from tests.trainer.compared import Runs

GPT: dict[str, Any] = {
    "layers": 4,
    "hidden": 32,
    "heads": 4,
    "vocab": 250,
    "vocab_multiple": 50,
    "seq": 32,
}
"""Learned positions, biases, tied embeddings. The vocabulary: 250 on one rank, 300 with tp 2."""

LLAMA: dict[str, Any] = GPT | {
    "kv_heads": 2,
    "ffn": 88,
    "activation": "swiglu",
    "norm": "rmsnorm",
    "positions": "rope",
    "tied": False,
    "bias": False,
    "vocab_multiple": 250,
}
"""Gated feed-forward, grouped heads. With tp 2 the second half of the vocabulary is all padding."""

EXPERTS: dict[str, Any] = LLAMA | {
    "experts": 4,
    "topk": 2,
    "moe_ffn": 24,
    "shared_experts": 1,
    "dense_layers": 1,
}
"""A dense layer, then routed and shared experts, balanced by their loss."""

DEEPSEEK: dict[str, Any] = EXPERTS | {
    "kv_heads": None,
    "mla": {"q_rank": 16, "kv_rank": 12, "nope_dim": 8, "rope_dim": 4, "v_dim": 6},
    "mtp": 1,
}
"""Latent attention and multi-token prediction too."""

GEGLU: dict[str, Any] = LLAMA | {"activation": "geglu", "positions": "none", "tied": True}
"""Gated by GELU, without positions."""

RELU: dict[str, Any] = GPT | {"activation": "relu", "positions": "none"}
"""With biases, without positions."""

RELU2: dict[str, Any] = RELU | {"activation": "relu2", "norm": "layernorm1p", "positions": "rope"}
"""Squared, and norms whose weight is around zero."""

MACHINE: dict[str, Any] = {
    "name": "local-cpu",
    "device": "cpu",
    "gpu": {"name": "cpu", "arch": "cpu"},
    "gpus_per_node": 4,
}


def tiny(steps: int = 4, **groups: Any) -> Recipe:
    """A recipe of a few seconds; ``groups`` replace or complete those below."""
    data: dict[str, Any] = {
        "name": "tiny",
        "gpus": 1,
        "model": GPT,
        "cluster": MACHINE,
        "backend": {"name": "megatron-core"},
        "batch": {"micro": 1, "global": 4},
        "precision": {"kind": "fp32"},
        "optim": {"lr": 1e-2},
        "schedule": {"kind": "constant"},
        "data": {"kind": "mock"},
        "run": {"steps": steps, "seed": 1},
    }
    return build(Recipe, data | groups)


def prepare(recipe: Recipe, folder: Path) -> None:
    """What a launch leaves for the trainer: the recipe, and the files of its backend."""
    (folder / "recipe.yaml").write_text(dump_recipe(recipe))
    if "deepspeed" not in recipe.backend.name:
        return
    plan = make_plan(recipe)
    # What is refused has no files; a trainer that is started all the same must say so too.
    for name, text in () if plan.errors else program(plan).files.items():
        (folder / name).write_text(text)


ENVIRONMENT = {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
"""What the local launcher sets."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Ranks:
    """The process of ``forked_ranks.py``, once the first run needs it."""

    started: "list[subprocess.Popen[str]]"

    def run(
        self,
        folder: Path,
        ranks: int,
        kill: dict[str, Any] | None = None,
        program: str = "llmtrain.trainer.__main__",
    ) -> list[int]:
        """Run the trainer, or another program, in ``folder``; the exit status of each rank."""
        if not self.started:
            self.started.append(
                subprocess.Popen(
                    [sys.executable, str(Path(__file__).with_name("forked_ranks.py"))],
                    env=os.environ | ENVIRONMENT,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    text=True,
                )
            )
        (server,) = self.started
        assert server.stdin is not None and server.stdout is not None
        asked = {"folder": str(folder), "ranks": ranks, "kill": kill, "program": program}
        server.stdin.write(json.dumps(asked) + "\n")
        server.stdin.flush()
        statuses: list[int] = json.loads(server.stdout.readline())
        return statuses

    def end(self) -> None:
        """Let the process go."""
        for server in self.started:
            server.communicate()


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A run's folder and what can be done with it."""

    folder: Path
    recipe: Recipe
    ranks: Ranks

    def command(self) -> list[str]:
        """The real launch: torchrun, or one process alone."""
        trainer = ["-m", "llmtrain.trainer", str(self.folder)]
        if self.recipe.gpus == 1:
            return [sys.executable, *trainer]
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        return [sys.executable, *torchrun, f"--nproc-per-node={self.recipe.gpus}", *trainer]

    def environment(self) -> dict[str, str]:
        """What the local launcher sets."""
        return os.environ | ENVIRONMENT

    def start(self) -> subprocess.Popen[str]:
        """Launch and go on."""
        return subprocess.Popen(
            self.command(), env=self.environment(), stderr=subprocess.PIPE, text=True
        )

    def train(self) -> "Trial":
        """Run every rank, without torchrun, and see that all ended well."""
        statuses = self.statuses(self.recipe.gpus)

        assert not any(statuses), (self.folder / "terminal").read_text() + self.logs()
        return self

    def statuses(self, ranks: int) -> list[int]:
        """Run as many ranks, see how each ended, and that ``resume`` would have known it."""
        before = self.verdict()
        found = self.ranks.run(self.folder, ranks)
        if not any(found):
            assert before in ("none", "as_is", "resharded"), before
            # What was written is read in the layout that wrote it.
            assert self.verdict() == "as_is" or not self.checkpoints(), self.verdict()
        return found

    def verdict(self) -> str:
        """What ``resume`` makes of the checkpoints that are here."""
        return check(
            self.folder / "checkpoints", read_recipe(self.folder / "recipe.yaml")
        ).verdict.outcome

    def kill(self, rank: int, step: int, part: float) -> list[int]:
        """Run every rank, and kill one in the save of ``step``, after that ``part`` of its time."""
        moment = {"rank": rank, "step": step, "part": part}
        return self.ranks.run(self.folder, self.recipe.gpus, moment)

    def run(self, program: str) -> None:
        """Run every rank of another program than the trainer: a module of this folder."""
        statuses = self.ranks.run(self.folder, self.recipe.gpus, program=program)

        assert not any(statuses), (self.folder / "terminal").read_text()

    def ask(self, what: str) -> None:
        """Leave a request in ``control/``."""
        (self.folder / "control").mkdir(exist_ok=True)
        (self.folder / "control" / what).touch()

    def change(self, **groups: Any) -> None:
        """Go on with another recipe: ``groups`` as in :func:`tiny`."""
        prepare(tiny(**groups), self.folder)

    def losses(self) -> dict[int, float]:
        """Loss by step; where a step came again, the last."""
        return {row["step"]: row["loss"] for row in self.lines("metrics")}

    def norms(self) -> dict[int, float]:
        """Norm of the gradients by step."""
        return {row["step"]: row["grad_norm"] for row in self.lines("metrics")}

    def events(self) -> list[tuple[str, int]]:
        """What happened, and after how many steps."""
        return [(line["event"], line["step"]) for line in self.lines("events")]

    def lines(self, name: str) -> list[dict[str, Any]]:
        """The objects of metrics.jsonl or events.jsonl; none where the file is not there yet."""
        path = self.folder / f"{name}.jsonl"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def logs(self) -> str:
        """Everything that the ranks wrote."""
        return "".join(path.read_text() for path in self.folder.glob("logs/*/rank-*.log"))

    def checkpoints(self) -> list[str]:
        """Names in ``checkpoints/``."""
        return sorted(path.name for path in (self.folder / "checkpoints").glob("*"))


@dataclass(frozen=True, kw_only=True, slots=True)
class Lab:
    """Makes trials, each in a folder of its own."""

    root: Path
    ranks: Ranks

    def trial(self, steps: int = 4, **groups: Any) -> Trial:
        """A run directory of a tiny recipe, ready to be launched."""
        folder = self.root / f"run-{len(list(self.root.iterdir()))}"
        folder.mkdir()
        recipe = tiny(steps, **groups)
        prepare(recipe, folder)
        return Trial(folder=folder, recipe=recipe, ranks=self.ranks)


@pytest.fixture(scope="session")
def ranks() -> Iterator[Ranks]:
    """Where the ranks of all trials come from."""
    found = Ranks(started=[])
    yield found
    found.end()


@pytest.fixture
def lab(tmp_path: Path, ranks: Ranks) -> Lab:
    """For the runs of one test."""
    return Lab(root=tmp_path, ranks=ranks)


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory, ranks: Ranks) -> Lab:
    """For runs that the tests of a module share."""
    return Lab(root=tmp_path_factory.mktemp("lab"), ranks=ranks)


@pytest.fixture(scope="session")
def shapes() -> dict[str, dict[str, Any]]:
    """The shapes by name."""
    usual = {"gpt": GPT, "llama": LLAMA, "experts": EXPERTS, "deepseek": DEEPSEEK}
    return usual | {"geglu": GEGLU, "relu": RELU, "relu2": RELU2}


@pytest.fixture(scope="module")
def runs(module_lab: Lab, shapes: dict[str, dict[str, Any]]) -> Runs:
    """Makes and remembers trials."""
    return Runs(module_lab, shapes)
