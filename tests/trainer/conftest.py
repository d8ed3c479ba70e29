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
from llmtrain.config.files import dump_recipe
from llmtrain.config.recipe import Recipe

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A run's folder and what can be done with it."""

    folder: Path
    recipe: Recipe

    def command(self) -> list[str]:
        """The real launch: torchrun, or one process alone."""
        trainer = ["-m", "llmtrain.trainer", str(self.folder)]
        if self.recipe.gpus == 1:
            return [sys.executable, *trainer]
        torchrun = ["-m", "torch.distributed.run", "--standalone"]
        return [sys.executable, *torchrun, f"--nproc-per-node={self.recipe.gpus}", *trainer]

    def environment(self) -> dict[str, str]:
        """What the local launcher sets."""
        return os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}

    def start(self) -> subprocess.Popen[str]:
        """Launch and go on."""
        return subprocess.Popen(
            self.command(), env=self.environment(), stderr=subprocess.PIPE, text=True
        )

    def train(self) -> "Trial":
        """Launch, wait, and see that it ended well."""
        process = self.start()
        _, terminal = process.communicate(timeout=120)

        assert process.returncode == 0, terminal + self.logs()
        return self

    def train_warm(self, warm: "Warm") -> "Trial":
        """The same through a process that has torch and megatron-core imported already."""
        statuses = warm.run(self.folder, self.recipe.gpus)

        assert not any(statuses), self.logs()
        return self

    def ask(self, what: str) -> None:
        """Leave a request in ``control/``."""
        (self.folder / "control").mkdir(exist_ok=True)
        (self.folder / "control" / what).touch()

    def change(self, **groups: Any) -> None:
        """Go on with another recipe: ``groups`` as in :func:`tiny`."""
        (self.folder / "recipe.yaml").write_text(dump_recipe(tiny(**groups)))

    def losses(self) -> dict[int, float]:
        """Loss by step; where a step came again, the last."""
        return {row["step"]: row["loss"] for row in self.lines("metrics")}

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


class Warm:
    """A process that has imported what takes long, and forks the ranks of trials."""

    def __init__(self) -> None:
        program = str(Path(__file__).with_name("warm.py"))
        environ = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"}
        self._process = subprocess.Popen(
            [sys.executable, program],
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def run(self, folder: Path, ranks: int) -> list[int]:
        """Exit statuses of the ranks."""
        asked, answers = self._process.stdin, self._process.stdout
        assert asked is not None
        assert answers is not None
        asked.write(json.dumps({"folder": str(folder), "ranks": ranks}) + "\n")
        asked.flush()
        statuses: list[int] = json.loads(answers.readline())
        return statuses

    def close(self) -> None:
        """Let it end: it has nothing left to read."""
        self._process.communicate(timeout=60)


@dataclass(frozen=True, kw_only=True, slots=True)
class Lab:
    """Makes trials, each in a folder of its own."""

    root: Path

    def trial(self, steps: int = 4, **groups: Any) -> Trial:
        """A run directory of a tiny recipe, ready to be launched."""
        folder = self.root / f"run-{len(list(self.root.iterdir()))}"
        folder.mkdir()
        recipe = tiny(steps, **groups)
        (folder / "recipe.yaml").write_text(dump_recipe(recipe))
        return Trial(folder=folder, recipe=recipe)


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """For the runs of one test."""
    return Lab(root=tmp_path)


@pytest.fixture(scope="module")
def module_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """For runs that the tests of a module share."""
    return Lab(root=tmp_path_factory.mktemp("lab"))


@pytest.fixture(scope="session")
def warm() -> Iterator[Warm]:
    """For trials whose launch is not what is tested."""
    started = Warm()
    yield started
    started.close()


@pytest.fixture(scope="session")
def shapes() -> dict[str, dict[str, Any]]:
    """The two shapes by name."""
    return {"gpt": GPT, "llama": LLAMA}
