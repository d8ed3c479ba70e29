"""``llmtrain doctor`` on this machine."""

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli


def test_this_machine(cli: Cli) -> None:
    """It is what the quick start promises: a CPU."""
    done = cli("doctor", "recipe=gpt-tiny", "--json")
    found = json.loads(done.out)

    assert done.status == 0
    assert found["host"] == found["facts"]["host"]
    assert {"open_files", "clock_seconds"} <= {each["check"] for each in found["findings"]}
    assert cli("doctor").out.rstrip().endswith("checks passed")
    assert "llmtrain recipes" in cli("doctor").err
    assert (
        cli("doctor", "recipe=gpt-tiny").err == "run:    llmtrain run recipe=gpt-tiny --dry-run\n"
    )


def test_a_machine_that_is_not_what_was_promised(cli: Cli) -> None:
    """Status 5, what is missing, and the line to leave it out."""
    done = cli("doctor", "recipe=gpt3-530b", "cluster=hgx-h100-ib")
    found = json.loads(cli("doctor", "recipe=gpt3-530b", "cluster=hgx-h100-ib", "--json").out)

    assert done.status == 5
    assert "0 ports of 8 are InfiniBand" in done.out
    assert "--exclude=" in done.err
    assert "stop" in {each["level"] for each in found["findings"]}


def test_a_node_is_kept_out_by_hand(cli: Cli, tmp_path: Path) -> None:
    """A dry run shows it, the script does not change, and what to give sbatch is on stderr."""
    words = ("recipe=gpt3-126m", "site.scheduler=slurm", "backend.path=/x", "gpus=8")
    before = cli("sbatch", *words)
    assert cli("doctor", "--exclude", "n7", "--days", "2").status == 2
    added = cli("doctor", "--exclude", "n7", "--reason", "ECC", "--days", "2", "--json")
    shown = json.loads(cli("run", *words, "--dry-run", "--json").out)
    after = cli("sbatch", *words)

    assert [each["node"] for each in json.loads(added.out)] == ["n7"]
    assert [each["reason"] for each in shown["excluded"]] == ["ECC"]
    assert before.out == after.out and "--exclude=n7" in after.err
    assert "submitted without n7 until" in cli("run", *words, "--dry-run").out
    assert cli("doctor", "--exclude", "n7", "--days", "0").out == ""
    assert "--exclude" not in cli("sbatch", *words).err


@pytest.mark.parametrize(
    "words",
    [
        ("gpu 07", "--reason", "ECC"),
        ("", "--reason", "ECC"),
        ("n[3-1]", "--reason", "ECC"),
        ("n7", "--reason", " "),
        ("n7", "--reason", "ECC", "--days", "1e9"),
        ("n7", "--reason", "ECC", "--days", "nan"),
        ("n7", "--reason", "ECC", "--days", "inf"),
        ("n7", "--reason", "ECC", "--days", "-1"),
    ],
)
def test_what_makes_no_entry_is_not_written_down(cli: Cli, words: tuple[str, ...]) -> None:
    """A usage error that names the option; the list stays as it is."""
    done = cli("doctor", "--exclude", *words)

    assert (done.status, done.out) == (2, "")
    assert "error: " in done.err and "--" in done.err and "internal" not in done.err
    assert not list(Path("outputs").glob(".llmtrain*"))


def test_each_node_of_a_list_is_an_entry(cli: Cli) -> None:
    """One of them can be taken back, and who is not on the list is said not to be."""
    cli("doctor", "--exclude", "n[1-2],g7", "--reason", "power")
    done = cli("doctor", "--exclude", "n1,n9", "--days", "0")

    assert [line.split()[1] for line in done.out.splitlines()] == ["n2", "g7"]
    assert done.status == 0 and "n9 is not on outputs/.llmtrain-exclude.yaml" in done.err


def test_a_node_that_slurm_does_not_know(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm would refuse every job that is to leave it out."""
    (tmp_path / "sinfo").write_text("#!/bin/sh\nprintf 'n1\\nn2\\n'\n")
    (tmp_path / "sinfo").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert cli("doctor", "--exclude", "n[2-3]", "--reason", "ECC").err.count("no node n3") == 1
    assert cli("doctor", "--exclude", "n2", "--reason", "ECC").status == 0


def test_a_damaged_list_blocks_nobody(cli: Cli) -> None:
    """It is a warning with file and line wherever the list is read; its other entries count."""
    Path("outputs").mkdir()
    lines = "- {node: 'gpu 07', until: 2099-01-01}\n- {node: n7, until: 2099-01-01}\n"
    Path("outputs/.llmtrain-exclude.yaml").write_text(lines)
    words = ("recipe=gpt3-126m", "site.scheduler=slurm", "backend.path=/x", "gpus=8")
    said = "warning: outputs/.llmtrain-exclude.yaml:1 is no entry"

    for done in (cli("run", *words, "--dry-run"), cli("sbatch", *words)):
        assert done.status == 0 and said in done.err and "n7" in done.out + done.err
    added = cli("doctor", "--exclude", "n8", "--reason", "ECC")
    assert added.status == 0 and said in added.err and "without n8" in added.out
