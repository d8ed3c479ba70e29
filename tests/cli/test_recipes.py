"""``llmtrain recipes``: find, read, take away."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml

import llmtrain.recipes
from tests.cli.conftest import COMMAND, Cli

RECIPES = Path(llmtrain.recipes.__path__[0])


def test_list(cli: Cli) -> None:
    """A line for each complete run of the package; groups and ``base`` are none."""
    lines = cli("recipes").out.splitlines()
    names = sorted(path.stem for path in RECIPES.glob("*.yaml") if path.stem != "base")

    assert lines[0].split() == ["recipe", "GPUs", "cluster", "backend", "what"]
    assert [line.split()[0] for line in lines[1:] if not line.startswith(" ")] == names
    assert any(
        line.split()[:4] == ["gpt3-530b", "2240", "dgx-a100-80g", "megatron-lm"] for line in lines
    )
    assert cli("recipes", "list").out.splitlines() == lines


def test_list_as_json(cli: Cli) -> None:
    """The same as data."""
    entries = json.loads(cli("recipes", "--json").out)["recipes"]
    (big,) = (entry for entry in entries if entry["name"] == "gpt3-530b")
    file = yaml.safe_load((RECIPES / "gpt3-530b.yaml").read_text())

    assert entries == json.loads(cli("recipes", "list", "--json").out)["recipes"]
    assert Path(big.pop("path")).samefile(RECIPES / "gpt3-530b.yaml")
    assert big == {
        "name": "gpt3-530b",
        "description": file["description"],
        "source": file["source"],
        "gpus": 2240,
        "model": "mt-nlg-530b",
        "cluster": "dgx-a100-80g",
        "backend": "megatron-lm",
    }


def test_show(cli: Cli) -> None:
    """The file as it is, comments included."""
    done = cli("recipes", "show", "gpt-tiny")

    assert (done.status, done.err) == (0, "")
    assert done.out == (RECIPES / "gpt-tiny.yaml").read_text()


def test_show_as_json(cli: Cli) -> None:
    """The whole recipe, every default in it."""
    shown = json.loads(cli("recipes", "show", "gpt-tiny", "--json").out)

    assert (shown["name"], shown["gpus"], shown["parallel"]["tp"]) == ("gpt-tiny", 2, 2)
    assert shown["cluster"]["network"]["kind"] == "loopback"
    assert shown["batch"]["ramp"] is None


def test_a_copy_can_be_changed_and_used(cli: Cli) -> None:
    """The file appears under the name that was asked for, and what to type with it."""
    done = cli("recipes", "copy", "gpt-tiny", "my own.yaml")
    copy = Path("my own.yaml")

    assert (done.status, done.out) == (0, "")
    assert done.err == "wrote my own.yaml; use it with: llmtrain plan recipe='my own.yaml'\n"
    assert copy.read_text() == (RECIPES / "gpt-tiny.yaml").read_text()

    copy.write_text(copy.read_text().replace("steps: 1000", "steps: 7"))

    assert json.loads(cli("plan", "recipe=my own.yaml", "--json").out)["steps"] == 7


def test_a_copy_replaces_nothing(cli: Cli) -> None:
    """What is there stays as it is."""
    Path("mine.yaml").write_text("mine")
    done = cli("recipes", "copy", "gpt-tiny", "mine.yaml")

    assert (done.status, done.err) == (5, "error: mine.yaml exists already: nothing was written\n")
    assert Path("mine.yaml").read_text() == "mine"


def test_a_copy_that_cannot_be_written(cli: Cli) -> None:
    """Where there is no such folder, or under a name that would not be found."""
    nowhere = cli("recipes", "copy", "gpt-tiny", "no/mine.yaml")
    unknown = cli("recipes", "copy", "gpt-tiny", "mine")

    assert (nowhere.status, nowhere.err) == (
        5,
        "error: no/mine.yaml cannot be written: No such file or directory\n",
    )
    assert (unknown.status, unknown.err) == (
        2,
        "error: Invalid value: mine does not end in .yaml, by which recipes are known\n",
    )
    assert list(Path().iterdir()) == []


def test_a_folder_of_ones_own(cli: Cli) -> None:
    """``--recipes`` is searched first, and its groups too; the current directory is not."""
    tiny = (RECIPES / "gpt-tiny.yaml").read_text()
    Path("mine/site").mkdir(parents=True)
    Path("mine/gpt-tiny.yaml").write_text(tiny.replace("steps: 1000", "steps: 77"))
    Path("mine/site/here.yaml").write_text("name: here\nscheduler: local\n")
    Path("other.yaml").write_text(tiny)
    own = cli("plan", "recipe=gpt-tiny", "site=here", "--recipes", "mine", "--json")

    assert json.loads(own.out)["steps"] == 77
    assert json.loads(cli("plan", "recipe=gpt-tiny", "--json").out)["steps"] == 1000
    assert cli("plan", "recipe=other").status == 3


def test_a_copy_that_finds_no_room() -> None:
    """Half a file does not stay: the next try would be told that it is there."""
    words = f"ulimit -f 0; exec {COMMAND} recipes copy gpt-tiny mine.yaml"
    done = subprocess.run(["bash", "-c", words], capture_output=True, text=True, check=False)

    assert (done.returncode, done.stderr) == (
        5,
        "error: mine.yaml cannot be written: File too large\n",
    )
    assert list(Path().iterdir()) == []


def test_a_narrow_terminal(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are broken over lines, not cut: no part of one is lost."""
    monkeypatch.setenv("COLUMNS", "60")
    shown = cli("recipes").out

    assert "…" not in shown
    assert max(len(line) for line in shown.splitlines()) <= 60
