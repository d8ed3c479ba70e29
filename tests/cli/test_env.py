"""``llmtrain env``."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_show_a_recipe(cli: Cli) -> None:
    """Each variable with who set it: cluster, rule, site, recipe."""
    done = cli("env", "show", "recipe=gpt3-530b", "+env.A=1", "+site.env.B=2", "--json")
    shown = {each["name"]: each for each in json.loads(done.out)["variables"]}

    assert (done.status, done.err) == (0, "")
    assert {name: shown[name]["set_by"] for name in ("A", "B", "CUDA_DEVICE_MAX_CONNECTIONS")} == {
        "A": "recipe gpt3-530b (`env.A`)",
        "B": "site none (`site.env.B`)",
        "CUDA_DEVICE_MAX_CONNECTIONS": "rule",
    }
    assert shown["NCCL_IB_HCA"]["set_by"] == "cluster dgx-a100-80g (recommended)"
    assert shown["NCCL_IB_HCA"]["source"]


def test_show_a_cluster(cli: Cli) -> None:
    """What any recipe gets there; what depends on the recipe is told."""
    done = cli("env", "show", "cluster=dgx-h100", "+site.env.NCCL_IB_SL=1", "--export")

    assert done.status == 0
    assert "export NCCL_DEBUG=WARN\n" in done.out
    assert "export NCCL_IB_SL=1\n" in done.out
    assert "CUDA_DEVICE_MAX_CONNECTIONS" not in done.out
    assert "CUDA_DEVICE_MAX_CONNECTIONS depends on the recipe" in done.err


@pytest.mark.parametrize("words", [("cluster=aws-p5",), ("recipe=gpt3-175b", "cluster=aws-p5")])
def test_what_else_is_known_of_a_fabric(cli: Cli, words: tuple[str, ...]) -> None:
    """Its rails, what nccl-tests reach there, and what not to set."""
    notes = json.loads(cli("env", "show", *words, "--json").out)["notes"]

    assert notes[0].startswith("rails: four EFA per GPU")
    assert notes[1].startswith("nccl-tests reach: Two nodes: 479 GB/s")
    assert "not to be set here: RDMAV_FORK_SAFE" in notes
    assert all(note in cli("env", "show", *words).out for note in notes)


@pytest.mark.parametrize("form", ["json", "enroot", "docker", "apptainer", "export", "table"])
def test_formats(cli: Cli, form: str) -> None:
    """The same variables in each."""
    done = cli("env", "show", "recipe=gpt3-530b", "--format", form)

    assert done.status == 0
    assert "NCCL_IB_HCA" in done.out and "WARN" in done.out


@pytest.mark.parametrize(
    ("status", "arguments"),
    [
        (2, ("show",)),
        (2, ("show", "gpus=8")),
        (2, ("show", "cluster=dgx-h100", "parallel.tp=2")),
        (2, ("show", "cluster=dgx-h100", "--format", "toml")),
        (3, ("show", "cluster=dgx-h1000")),
        (3, ("show", "recipe=gpt5")),
        (3, ("show", "cluster=dgx-h100", "cluster.nods=1")),
        (2, ("explain", "NCCL_IB_TIMEOUTS")),
        (2, ("lint", "no-such-file.sh")),
        (2, ("lint", "-", "--nccl", "new")),
        (3, ("lint", "recipe=gpt5")),
    ],
)
def test_mistakes(cli: Cli, status: int, arguments: tuple[str, ...]) -> None:
    """Answered, with the status of their kind."""
    done = cli("env", *arguments)

    assert (done.status, done.out, done.err.startswith("error: ")) == (status, "", True), done.err


def test_explain(cli: Cli) -> None:
    """What it does, its range, and what clusters set with their reasons."""
    done = cli("env", "explain", "NCCL_IB_TIMEOUT")
    shown = json.loads(cli("env", "explain", "nccl_ib_timeout", "--json").out)

    assert "values: 1 to 31" in done.out and "for ever" in done.out
    assert shown["default"] == "20"
    assert {"cluster", "value", "level", "why", "not_when", "source"} == set(shown["clusters"][0])


@pytest.mark.parametrize(
    "name",
    ["NCCL_DEBUG", "TORCH_FR_BUFFER_SIZE", "UCX_TLS", "SHARP_COLL_ENABLE_SAT", "FI_PROVIDER"],
)
def test_explain_each_family(cli: Cli, name: str) -> None:
    """NCCL, torch, UCX, SHARP, EFA."""
    assert cli("env", "explain", name).out.startswith(f"{name}  ")


def test_explain_offers_what_was_meant(cli: Cli) -> None:
    """A slip is answered with the name."""
    assert "did you mean NCCL_IB_TIMEOUT" in cli("env", "explain", "NCCL_IB_TIMOUT").err


def test_lint_a_file(cli: Cli, tmp_path: Path) -> None:
    """Line, severity, what is wrong, what to do; status 1."""
    file = tmp_path / "job.sh"
    file.write_text("#!/bin/bash\nexport NCCL_IB_TIMEOUT=100\n")
    done = cli("env", "lint", str(file))

    assert (done.status, done.err) == (1, "")
    assert done.out == (
        f"{file}:2: error: NCCL_IB_TIMEOUT=100 is out of range: 0 and 32 or more mean for ever: "
        "a dead link never becomes an error\n  hint: valid: 1 to 31; default 20\n"
    )
    assert json.loads(cli("env", "lint", str(file), "--json").out)["summary"] == {
        "error": 1,
        "warning": 0,
        "note": 0,
    }


def test_lint_is_silent_on_a_clean_file(cli: Cli, tmp_path: Path) -> None:
    """Not a word; a note alone does not count either."""
    clean, noted = tmp_path / "a.sh", tmp_path / "b.sh"
    clean.write_text("export NCCL_IB_TIMEOUT=22\n")
    noted.write_text("export FI_PROVIDER=efa\n")

    assert (cli("env", "lint", str(clean)).status, cli("env", "lint", str(clean)).out) == (0, "")
    assert cli("env", "lint", str(noted)).status == 0


def test_lint_stdin_and_this_environment(program: Cli) -> None:
    """``-`` reads a file's text; nothing at all means the environment of the process."""
    done = program("env", "lint", "--json", NCCL_IB_TIMEOUT="99")
    names = [each["name"] for each in json.loads(done.out)["findings"]]

    assert (done.status, "NCCL_IB_TIMEOUT" in names) == (1, True)


def test_lint_a_recipe_and_a_script_as_one(cli: Cli, tmp_path: Path) -> None:
    """``recipe=NAME`` is planned; ``recipe=FILE.sh`` is read."""
    file = tmp_path / "job.sh"
    file.write_text("export NCCL_IB_RETRY_CNT=20\n")

    assert cli("env", "lint", "recipe=gpt3-530b").status == 0
    assert cli("env", "lint", "recipe=gpt3-530b", "+env.NCCL_IB_RETRY_CNT=20").status == 1
    assert cli("env", "lint", f"recipe={file}").out.startswith(f"{file}:1: error: ")
