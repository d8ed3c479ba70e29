"""Where runs lie, how their folders appear, how one is found."""

import os
from collections.abc import Callable
from datetime import datetime
from grp import getgrgid
from pathlib import Path

import pytest

from llmtrain.config.errors import LaunchError, RunError
from llmtrain.config.site import Site
from llmtrain.launchers.launch import Launch
from llmtrain.runs.folder import find_run, make_folder, run_folders, runs_root, spoken

LaunchWith = Callable[..., Launch]
RunWith = Callable[..., Path]

NOW = datetime(2026, 11, 24, 9, 5, 3)


def test_where_runs_lie(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """LLMTRAIN_RUNS, else ``site.runs``, else ./outputs; ~ is the home folder."""
    site = Site(runs="~/runs")
    monkeypatch.setenv("HOME", str(tmp_path))

    assert runs_root() == Path("outputs")
    assert runs_root(Site()) == Path("outputs")
    assert runs_root(site) == tmp_path / "runs"

    monkeypatch.setenv("LLMTRAIN_RUNS", "~/mine")

    assert runs_root(site) == tmp_path / "mine"


def test_a_folder_holds_the_launch_and_places_for_the_run(
    launch_with: LaunchWith, tmp_path: Path
) -> None:
    """Every file as prepared, the script executable, nothing beside them."""
    launch = launch_with("exit\n")
    folder = make_folder(launch, tmp_path / "new" / "runs", NOW)
    files = {path.name: path.read_text() for path in folder.iterdir() if path.is_file()}

    assert folder == tmp_path / "new/runs/test-20261124-090503"
    assert files == launch.files
    assert {path.name for path in folder.iterdir() if path.is_dir()} == {
        *("checkpoints", "control", "logs")
    }
    assert os.access(folder / "job.sh", os.X_OK)
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_folder_belongs_to_the_group_of_the_site(launch_with: LaunchWith, tmp_path: Path) -> None:
    """Colleagues can read it, others cannot, and what the run makes inside is theirs too."""
    group = getgrgid(os.getgid()).gr_name
    folder = make_folder(launch_with(), tmp_path, NOW, Site(group=group, umask="0027"))
    modes = {each.name: each.stat().st_mode & 0o7777 for each in folder.iterdir()}

    assert folder.stat().st_mode & 0o7777 == 0o2750
    assert (modes["logs"], modes["plan.json"], modes["job.sh"]) == (0o2750, 0o640, 0o755)
    assert folder.group() == group
    with pytest.raises(LaunchError, match=r"`site\.group` no such group"):
        make_folder(launch_with(), tmp_path, NOW, Site(group="nobody-is-in-it"))


def test_runs_of_the_same_second(launch_with: LaunchWith, tmp_path: Path) -> None:
    """Each gets a name of its own, also beside a file of that name."""
    (tmp_path / "test-20261124-090503-2").touch()
    names = [make_folder(launch_with(), tmp_path, NOW).name for _ in range(3)]

    assert names == [f"test-20261124-090503{end}" for end in ("", "-3", "-4")]


@pytest.mark.parametrize("breaks", ["write_text", "rename", "mkdir"])
def test_a_folder_appears_whole_or_not_at_all(
    launch_with: LaunchWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, breaks: str
) -> None:
    """A full disk in the midst of it leaves nothing behind."""
    whole = getattr(Path, breaks)
    root = tmp_path / "runs"
    root.mkdir()

    def full(path: Path, *arguments: object, **keywords: object) -> object:
        if path.name in ("plan.json", "control") or breaks == "rename":
            raise OSError(28, "No space left on device", str(path))
        return whole(path, *arguments, **keywords)

    monkeypatch.setattr(Path, breaks, full)
    with pytest.raises(LaunchError) as refused:
        make_folder(launch_with(), root, NOW)

    assert list(root.iterdir()) == []
    assert refused.value.problems[0].message.startswith(
        "the run's folder cannot be written: [Errno 28] No space left on device"
    )
    assert refused.value.problems[0].hint == "`LLMTRAIN_RUNS` or `site.runs` says where runs go"


def test_a_place_that_is_no_folder(launch_with: LaunchWith, tmp_path: Path) -> None:
    """Is answered, not traced back."""
    (tmp_path / "runs").touch()
    with pytest.raises(LaunchError, match="cannot be written"):
        make_folder(launch_with(), tmp_path / "runs", NOW)


@pytest.fixture
def runs(run_with: RunWith, tmp_path: Path) -> dict[str, Path]:
    """Three runs, from the oldest to the newest, and what is none."""
    found = {}
    for age, name in enumerate(("alpha", "beta", "beta")):
        folder = run_with(name=name)
        os.utime(folder / "launch.json", (age, age))
        found[folder.name] = folder
    (tmp_path / "outputs" / "no-run").mkdir()
    (tmp_path / "outputs" / ".alpha.123").mkdir()
    (tmp_path / "outputs" / ".alpha.123" / "launch.json").touch()
    return found


def test_runs_are_listed_from_the_newest(runs: dict[str, Path], tmp_path: Path) -> None:
    """Drafts and other folders are none."""
    assert [path.name for path in run_folders(tmp_path / "outputs")] == [
        "beta-20260102-000000-2",
        "beta-20260102-000000",
        "alpha-20260102-000000",
    ]
    assert list(run_folders(tmp_path / "nowhere")) == []


def test_a_run_is_found(runs: dict[str, Path]) -> None:
    """By name, by the beginning of one, by path, or as the latest."""
    asked = {
        "alpha-20260102-000000": "alpha-20260102-000000",
        "al": "alpha-20260102-000000",
        # A whole name wins over a longer one that begins with it.
        "beta-20260102-000000": "beta-20260102-000000",
        "latest": "beta-20260102-000000-2",
        "outputs/alpha-20260102-000000": "alpha-20260102-000000",
        str(runs["beta-20260102-000000"]): "beta-20260102-000000",
    }

    assert {name: find_run(name) for name in asked} == {
        name: runs[found] for name, found in asked.items()
    }


def test_runs_of_the_users_sites_are_found(
    runs: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where a site puts them, beside ./outputs; LLMTRAIN_RUNS alone where it is set."""
    site = tmp_path / "config" / "llmtrain" / "site" / "mine.yaml"
    site.parent.mkdir(parents=True)
    site.write_text(f"runs: {tmp_path}/scratch\n")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    far = tmp_path / "scratch" / "gamma-1"
    far.mkdir(parents=True)
    (far / "launch.json").touch()

    assert (find_run("gamma"), find_run("latest")) == (far, far)
    assert find_run("al") == runs["alpha-20260102-000000"]
    assert spoken(far) == "gamma-1"

    monkeypatch.setenv("LLMTRAIN_RUNS", str(tmp_path / "outputs"))

    assert spoken(far) == str(far)
    with pytest.raises(RunError, match="there is no run 'gamma'"):
        find_run("gamma")


@pytest.mark.parametrize(
    ("name", "says", "hint"),
    [
        (
            "beta",
            "2 runs begin with 'beta'",
            "beta-20260102-000000-2, beta-20260102-000000",
        ),
        (
            "alhpa-20260102-000000",
            "there is no run 'alhpa-20260102-000000' in outputs",
            "did you mean alpha-20260102-000000 or beta-20260102-000000 or beta-20260102-000000-2?",
        ),
        ("x", "there is no run 'x' in outputs", "`llmtrain status` lists the runs"),
    ],
)
def test_a_run_that_is_not_there(runs: dict[str, Path], name: str, says: str, hint: str) -> None:
    """The answer offers those that are."""
    with pytest.raises(RunError) as refused:
        find_run(name)
    (problem,) = refused.value.problems

    assert (problem.message, problem.hint) == (says, hint)


def test_the_latest_of_none() -> None:
    """Nothing is the latest where nothing is."""
    with pytest.raises(RunError, match="there is no run 'latest' in outputs"):
        find_run("latest")


def test_what_to_type_for_a_run(
    run_with: RunWith, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its name where the other verbs look for it, else its path, as a shell needs it."""
    folder = run_with()

    assert spoken(folder) == "test-20260102-000000"

    monkeypatch.chdir("/")

    assert spoken(folder) == str(folder)
    assert spoken(Path("/a b/run")) == "'/a b/run'"

    monkeypatch.setenv("LLMTRAIN_RUNS", str(tmp_path / "outputs"))

    assert spoken(folder) == "test-20260102-000000"
