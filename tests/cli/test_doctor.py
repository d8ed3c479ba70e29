"""``llmtrain doctor`` on this machine."""

import json
from pathlib import Path

from tests.cli.conftest import Cli


def test_this_machine(cli: Cli) -> None:
    """It is what the quick start promises: a CPU."""
    done = cli("doctor", "recipe=gpt-tiny", "--json")
    found = json.loads(done.out)

    assert done.status == 0
    assert found["host"] == found["facts"]["host"]
    assert {"open_files", "clock_seconds"} <= {each["check"] for each in found["findings"]}
    assert cli("doctor").out.rstrip().endswith("checks passed")


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
