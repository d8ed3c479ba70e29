"""``llmtrain diff`` on recipes by name and path, and on runs."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_two_recipes(cli: Cli) -> None:
    """What changes the experiment stands first; the last line is the verdict."""
    done = cli("diff", "gpt3-5b", "gpt3-20b")
    lines = done.out.splitlines()

    assert (done.status, done.err.splitlines()[0]) == (0, "plan:   llmtrain plan recipe=gpt3-20b")
    assert cli("diff", "gpt3-5b", "gpt3-20b", "--json").err == ""
    assert lines[0].split() == ["changes", "the", "experiment", "gpt3-5b", "gpt3-20b", "decides"]
    assert any(line.startswith("only maps it") for line in lines)
    assert lines[-1].endswith("change the experiment")
    assert cli("diff", "gpt3-5b", "gpt3-5b").out == "the same recipe\n"


def test_a_copy_that_is_mapped_otherwise(cli: Cli) -> None:
    """A file of the user's, as JSON; null stays null."""
    cli("recipes", "copy", "gpt-tiny", "mine.yaml")
    text = Path("mine.yaml").read_text().replace("parallel: {tp: 2}", "parallel: {tp: 1, pp: 2}")
    Path("mine.yaml").write_text(text)
    found = json.loads(cli("diff", "gpt-tiny", "mine.yaml", "--json").out)
    keys = {each["key"]: (each["a"], each["b"]) for each in found["differences"]}

    assert found["same_experiment"] is True
    assert (keys["parallel.tp"], keys["parallel.pp"]) == ((2, 1), (1, 2))
    assert {each["label"] for each in found["differences"]} == {"map"}


@pytest.mark.usefixtures("stand_in")
def test_two_runs(cli: Cli) -> None:
    """By the beginning of their names, with what they were made with."""
    cli("run", "recipe=gpt-tiny", "run.name=alpha", "run.steps=3")
    cli("run", "recipe=gpt-tiny", "run.name=beta", "run.steps=3", "run.seed=2")
    (beta,) = Path("outputs").glob("beta-*")
    made = json.loads((beta / "provenance.json").read_text()) | {"python": "3.9.0"}
    (beta / "provenance.json").write_text(json.dumps(made))
    done = cli("diff", "alpha", "beta")

    assert "run.seed" in done.out
    assert "3.9.0" in done.out
    assert done.err.splitlines()[0] == f"status: llmtrain status {beta.name}"
    assert done.out.endswith("2 keys differ, 1 of them changes the experiment\n")


def test_what_is_neither_recipe_nor_run(cli: Cli) -> None:
    """Status 3, with the nearest name."""
    done = cli("diff", "gpt-tiny", "gpt-tinny")

    assert (done.status, done.out) == (3, "")
    assert done.err.splitlines()[0] == "error: there is no recipe and no run 'gpt-tinny'"
    assert "gpt-tiny" in done.err.splitlines()[1]
