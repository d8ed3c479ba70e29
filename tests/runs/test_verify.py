"""What has changed since a run was prepared."""

from dataclasses import replace
from pathlib import Path

import pytest

from llmtrain.config.errors import RunError
from llmtrain.launchers.content import as_json
from llmtrain.launchers.digest import sums
from llmtrain.launchers.provenance import Code, Provenance
from llmtrain.runs.verify import drift, program_of

HERE = Provenance(
    python="python",
    packages={"torch": "2.9"},
    here=Code(path=".", commit="abc"),
    program=Code(path="/x", commit="123"),
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A prepared run."""
    files = {"recipe.yaml": "gpus: 8\n", "provenance.json": as_json(HERE.as_json())}
    for name, text in {**files, "SHA256SUMS": sums(files)}.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def test_an_untouched_run_has_no_drift(folder: Path) -> None:
    """Files that the run writes do not count."""
    (folder / "metrics.jsonl").write_text("{}\n")

    assert drift(folder, HERE) == []


def test_changed_and_missing_files_are_told(folder: Path) -> None:
    """By name, with the beginning of their digests."""
    (folder / "recipe.yaml").write_text("gpus: 16\n")
    (folder / "provenance.json").unlink()

    assert [(each.what, each.now[:7]) for each in drift(folder, HERE)] == [
        ("provenance.json", "missing"),
        ("recipe.yaml", "a600b2c"),
    ]


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"packages": {"torch": "2.10"}}, "torch"),
        ({"here": Code(path=".", commit="def")}, "git commit"),
        ({"here": Code(path=".", commit="abc", diff="+ a line")}, "git diff"),
        ({"program": Code(path="/x", commit="123", untracked=("a",))}, "program untracked files"),
    ],
)
def test_packages_and_code_that_differ_are_told(
    folder: Path, change: dict[str, object], what: str
) -> None:
    """Against what was there when the run was prepared."""
    now = replace(HERE, **change)  # type: ignore[arg-type]

    assert [each.what for each in drift(folder, now)] == [what]


def test_a_folder_without_digests_is_refused(tmp_path: Path) -> None:
    """It is no run."""
    with pytest.raises(RunError, match="SHA256SUMS"):
        drift(tmp_path, HERE)


def test_drift_as_json(folder: Path) -> None:
    """JSON has the same words."""
    (folder / "recipe.yaml").write_text("x")

    assert set(drift(folder, HERE)[0].as_json()) == {"what", "was", "now"}


def test_the_checkout_of_the_program_is_known(folder: Path) -> None:
    """So that it can be looked at again; nothing where the run named none."""
    assert program_of(folder) == "/x"

    (folder / "provenance.json").write_text('{"program": null}')

    assert program_of(folder) is None
