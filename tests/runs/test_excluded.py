"""The exclude list: what counts, until when, and how it reaches Slurm."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from llmtrain.runs.excluded import NAME, Entry, add, alive, damaged, entries, exclude_option

NOW = datetime.now(UTC)


def entry(node: str, days: float, reason: str = "Xid 79") -> Entry:
    """Found now."""
    until = NOW + timedelta(days=days)
    return Entry(node=node, reason=reason, run="r", when=NOW, until=until)


def test_what_a_job_writes_is_read(tmp_path: Path) -> None:
    """The line of shell/preflight.sh, a line of a person's, and one of ours."""
    (tmp_path / NAME).write_text(
        '- {node: "n1", reason: "GPU 3: x1; full", run: "a-1", when: "2026-01-02T03:04:05Z",'
        ' until: "2099-01-02T03:04:05Z"}\n'
        "- {node: n2, until: 2099-01-01}\n"
    )
    add(tmp_path, entry("n3", 1, 'a "quoted" reason'))

    found = {each.node: each for each in entries(tmp_path)}
    assert found["n1"].reason == "GPU 3: x1; full" and found["n1"].run == "a-1"
    assert found["n2"].reason == "no reason given" and found["n2"].until.year == 2099
    assert found["n3"].reason == 'a "quoted" reason'
    assert str(found["n1"]) == "n1 until 2099-01-02 03:04 UTC: GPU 3: x1; full (run a-1)"


def test_the_last_entry_of_a_node_counts(tmp_path: Path) -> None:
    """An expired one does not, and zero days take a node back."""
    for each in (entry("n1", 5), entry("n2", -1), entry("n3", 5), entry("n3", 0)):
        add(tmp_path, each)

    assert [each.node for each in alive(tmp_path)] == ["n1"]
    assert {each.node for each in entries(tmp_path)} == {"n1", "n2", "n3"}


def test_the_option_keeps_what_the_script_leaves_out(tmp_path: Path) -> None:
    """An option of sbatch replaces the line of the script."""
    assert exclude_option("#SBATCH --exclude=a,b\n", tmp_path) == ()
    add(tmp_path, entry("n1", 5))

    assert exclude_option("#SBATCH --nodes=2\n", tmp_path) == ("--exclude=n1",)
    assert exclude_option("#SBATCH --exclude=a,b\n", tmp_path) == ("--exclude=a,b,n1",)


@pytest.mark.parametrize(
    "text",
    [
        "- {node: a",
        "- node",
        "- {node: 'gpu 07', until: 2099-01-01}",
        "- {node: '', until: 2099-01-01}",
        "- {node: a, until: soon}",
        "- {node: a}",
        "node: a",
        "- {node: 'n[5-3]', until: 2099-01-01}",
        "\x00\x07",
    ],
)
def test_what_is_damaged_is_said_and_the_rest_counts(tmp_path: Path, text: str) -> None:
    """With file and line: a list that many use must not stop everybody."""
    good = "- {node: n1, until: 2099-01-01}\n"
    (tmp_path / NAME).write_text(f"# ours\n{good}{text}\n- node: n2\n  until: 2099-01-01\n")

    found, said = entries(tmp_path), damaged(tmp_path)
    assert [each.node for each in found] == ["n1", "n2"]
    assert len(said) == 1 and said[0].startswith(f"{tmp_path / NAME}:3 is no entry and is passed")


def test_a_list_that_cannot_be_opened_is_said(tmp_path: Path) -> None:
    """And nobody is kept out by it."""
    (tmp_path / NAME).mkdir()

    assert alive(tmp_path) == ()
    assert "cannot be read" in damaged(tmp_path)[0]


def test_lists_of_slurm_are_an_entry_for_each_node(tmp_path: Path) -> None:
    """So that one of them can be taken back; a line without an end is not written into."""
    (tmp_path / NAME).write_text('- {node: "n[08-10],g1", reason: power, until: 2099-01-01}')
    add(tmp_path, entry("n09", 0))

    assert [each.node for each in alive(tmp_path)] == ["n08", "n10", "g1"]
    assert damaged(tmp_path) == ()
