"""``llmtrain resume --check`` of another layout: what it says to do makes the run go on."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.files import dump_recipe
from tests.cli import converters
from tests.cli.conftest import Cli

LINES = 'llmtrain() { printf "%s\\n" "$@"; }\n'
"""For a shell: what the command was given, a word a line."""


@pytest.fixture
def runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are; a space in its path, and a ``python`` that stands in for the converters."""
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f'#!/bin/sh\nexec {sys.executable} {converters.__file__} "$@"\n')
    python.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setenv("LLMTRAIN_RUNS", str(tmp_path / "my runs"))
    return tmp_path / "my runs"


def made(runs: Path, *arguments: str) -> Path:
    """A run's folder, with a name that makes every command longer than a line; its checkpoints."""
    folder = runs / f"mine-{'long' * 25}"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "launch.json").write_text("{}")
    (folder / "recipe.yaml").write_text(dump_recipe(compose(arguments)))
    return folder / "checkpoints"


def follow(cli: Cli, *words: str) -> str:
    """Check, do what it says, check again as it says: what that answers."""
    first = cli("resume", "mine", *words, "--check")
    assert (first.status, "needs conversion" in first.out) == (5, True), first
    lines = [line.strip() for line in first.out.splitlines() if line.startswith("  ")]
    assert json.loads(cli("resume", "mine", *words, "--check", "--json").out)["commands"] == lines

    answers = [
        subprocess.run(
            ["bash", "-ec", LINES + line], capture_output=True, text=True, check=True, cwd="/"
        )
        for line in lines
    ]

    second = cli(*answers[-1].stdout.splitlines(), "--check")
    assert second.status == 0, second.out
    return second.out


def test_megatrons_own_format(runs: Path, cli: Cli) -> None:
    """Converted beside the old folder, which is set aside for it."""
    checkpoints = made(
        runs,
        *("recipe=llama2-7b", "gpus=8", "parallel.tp=2", "parallel.pp=1", "optim.zero=1"),
        "backend.path=/opt/Megatron LM",
    )
    converters.megatron(checkpoints, 2, 1, use_distributed_optimizer=True)

    says = follow(cli, "parallel.tp=4")

    assert (
        says == "iter_0000010 (megatron, tp 4 · pp 1 · dp 1 · zero 1): loads resharded: dp 1 → 2\n"
    )
    before = checkpoints.with_name("checkpoints-iter_0000010-before")
    assert (before / "iter_0000010" / "mp_rank_01" / "distrib_optim.pt").is_file()


def test_deepspeeds(runs: Path, cli: Cli) -> None:
    """Another number of replicas, by a universal checkpoint and the key that reads it."""
    checkpoints = made(
        runs, "recipe=gpt3-126m", "backend=megatron-deepspeed", "gpus=8", "optim.zero=1"
    )
    converters.deepspeed(checkpoints, 8)

    says = follow(cli, "gpus=16")

    about = "(universal, tp 1 · pp 1 · dp 8 · zero 1)"
    assert says == f"global_step10_universal {about}: loads resharded: dp 8 → 16\n"
