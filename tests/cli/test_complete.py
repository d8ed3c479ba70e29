"""Completion, asked as the shells ask: the real bash with the script that Typer gives it."""

import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.cli.complete import complete_argument, complete_run

BIN = Path(sys.executable).parent
Complete = Callable[..., list[str]]

ASK = """\
eval "$(_LLMTRAIN_COMPLETE=source_bash llmtrain)"
COMP_WORDS=({words}) COMP_CWORD={last}
_llmtrain_completion llmtrain
printf '%s\\n' "${{COMPREPLY[@]}}"
"""


@pytest.fixture
def bash() -> Complete:
    """What bash offers for the last of these words. It has taken words apart at ``=``."""

    def complete(*words: str) -> list[str]:
        script = ASK.format(words=shlex.join(["llmtrain", *words]), last=len(words))
        path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
        done = subprocess.run(
            ["bash", "-c", script],
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stderr == ""
        return done.stdout.split()

    return complete


ASKED = [
    (("re",), ["resume", "recipes"]),
    (("recipes", "s"), ["show"]),
    (("recipes", "show", "gpt-"), ["gpt-tiny"]),
    (("plan", "rec"), 6),
    (("plan", "recipe", "=", "gpt3-5"), ["gpt3-530b", "gpt3-5b"]),
    (("plan", "recipe", "="), 23),
    (("plan", "recipe", "=", "gpt-tiny", "cluster", "=", "dgx-h"), ["dgx-h100", "dgx-h200"]),
    (("run", "recipe", "=", "gpt-tiny", "parallel.t"), ["parallel.tp="]),
    (("run", "recipe", "=", "gpt-tiny", "--dry"), ["--dry-run"]),
    (("run", "--print", "b"), ["bundle"]),
]


@pytest.mark.parametrize(("words", "offered"), ASKED)
def test_bash(bash: Complete, words: tuple[str, ...], offered: list[str] | int) -> None:
    """Verbs, recipes, groups with their choices, keys, options."""
    found = bash(*words)

    assert (len(found) if isinstance(offered, int) else found) == offered


def test_zsh() -> None:
    """It leaves words whole."""
    ask = {"_LLMTRAIN_COMPLETE": "complete_zsh", "_TYPER_COMPLETE_ARGS": "llmtrain plan cluster=h8"}
    done = subprocess.run([BIN / "llmtrain"], env=os.environ | ask, capture_output=True, text=True)

    assert '"cluster=h800"' in done.stdout


@pytest.mark.parametrize(
    ("incomplete", "before", "offered"),
    [
        ("recipe=gpt-t", (), ["recipe=gpt-tiny"]),
        ("gpt-t", ("recipe", "="), ["gpt-tiny"]),
        ("optim=", (), ["optim=adam", "optim=adam-distributed"]),
        ("", ("recipe", "=", "gpt-tiny", "optim"), ["adam", "adam-distributed"]),
        ("run.s", ("recipe", "=", "x"), ["run.seed=", "run.steps="]),
        ("run.s", ("recipe=x",), ["run.seed=", "run.steps="]),
        ("nonsense", (), []),
        ("nonsense=", (), []),
    ],
)
def test_arguments(incomplete: str, before: tuple[str, ...], offered: list[str]) -> None:
    """Whole words, and words that the shell has taken apart."""
    assert complete_argument(incomplete, before) == offered


def test_after_a_whole_argument_comes_a_key() -> None:
    """A value that has been typed is not completed again."""
    keys = complete_argument("")

    assert complete_argument("", ("recipe", "=", "gpt-tiny")) == keys
    assert {"recipe=", "cluster=", "parallel.tp=", "gpus="} <= set(keys)


def test_nothing_is_offered_on_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants an error message in the middle of a line."""
    monkeypatch.setenv("LLMTRAIN_RECIPES", "/nowhere")

    assert complete_argument("recipe=") == []


def test_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of runs, and the latest."""
    monkeypatch.setenv("LLMTRAIN_RUNS", str(tmp_path))
    for name in ("alpha-1", "beta-1"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "launch.json").touch()

    assert sorted(complete_run("")) == ["alpha-1", "beta-1", "latest"]
    assert complete_run("al") == ["alpha-1"]
