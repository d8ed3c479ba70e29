"""How long the command takes to start, beside the least that its libraries allow.

``python -m benchmarks.startup [--json]`` times whole processes in turn: ``llmtrain --help`` beside
a bare Typer program with the same verbs, and ``llmtrain plan recipe=gpt3-530b`` beside a script
that only composes that recipe with Hydra. The aim is a ratio of 1.3 at most for both.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Any

import llmtrain.recipes
from llmtrain.cli.main import app

AIM = 1.3
RECIPE = "gpt3-530b"
COMMAND = str(Path(sys.executable).with_name("llmtrain"))

COMPOSER = """\
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf

with initialize_config_dir({folder!r}, version_base="1.3"):
    OmegaConf.to_container(compose({recipe!r}), resolve=True)
"""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="benchmarks.startup", description=__doc__)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout")
    parser.add_argument("--rounds", type=int, default=20)
    given = parser.parse_args()
    scores = measure(given.rounds)
    print(json.dumps(scores) if given.json else "\n".join(describe(scores)))


def measure(rounds: int) -> dict[str, Any]:
    """Median seconds and ratios of both pairs."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "bare.py").write_text(bare_program())
        (folder / "composer.py").write_text(composer())
        # Both sides start alike: with the command's own script, whose modules are all compiled.
        script = [sys.executable, COMMAND]
        return {
            "help": compare(
                [*script, "--help"], [sys.executable, str(folder / "bare.py"), "--help"], rounds
            ),
            "plan": compare(
                [*script, "plan", f"recipe={RECIPE}"],
                [sys.executable, str(folder / "composer.py")],
                rounds,
            ),
        }


def bare_program() -> str:
    """A Typer program that has the verbs of ``llmtrain`` and nothing else."""
    lines = ["import typer", "", f"app = typer.Typer(name='llmtrain', help={app.info.help!r})"]
    verbs = [
        (each.name, each.callback.__doc__) for each in app.registered_commands if each.callback
    ]
    groups = [
        (each.name, each.typer_instance.info.help)
        for each in app.registered_groups
        if each.typer_instance
    ]
    for number, (verb, says) in enumerate([*verbs, *groups]):
        # Not by its name: `import` is Python's own.
        lines += ["", f"@app.command({verb!r}, help={says!r})", f"def verb{number}(): pass"]
    return "\n".join([*lines, "", "app()", ""])


def composer() -> str:
    """A script that composes the recipe and does nothing with it."""
    return COMPOSER.format(folder=str(Path(llmtrain.recipes.__path__[0]).resolve()), recipe=RECIPE)


def compare(ours: Sequence[str], bare: Sequence[str], rounds: int) -> dict[str, float | int]:
    """Both commands in turn, so that a busy moment of the machine meets both."""
    pairs = [(seconds(ours), seconds(bare)) for _ in range(rounds + 1)][1:]
    return {
        "seconds": median(first for first, _ in pairs),
        "bare_seconds": median(second for _, second in pairs),
        "ratio": median(first for first, _ in pairs) / median(second for _, second in pairs),
        "rounds": rounds,
    }


def seconds(command: Sequence[str]) -> float:
    """Wall clock of one process from start to end."""
    started = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, cwd="/", check=True)
    return time.perf_counter() - started


def describe(scores: dict[str, Any]) -> list[str]:
    """The scores in words."""
    names = {
        "help": "llmtrain --help beside a bare Typer program",
        "plan": f"llmtrain plan recipe={RECIPE} beside Hydra alone",
    }
    return [
        f"{names[key]}: {score['seconds']:.3f} s and {score['bare_seconds']:.3f} s, "
        f"ratio {score['ratio']:.2f} (median of {score['rounds']}; aim {AIM})"
        for key, score in scores.items()
    ]


if __name__ == "__main__":
    main()
