"""Run folders: where they are, how one is made whole or not at all, how one is found."""

import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from datetime import datetime
from difflib import get_close_matches
from errno import EEXIST, ENOTDIR, ENOTEMPTY
from pathlib import Path

from llmtrain.config.errors import LaunchError, Problem, RunError
from llmtrain.config.site import Site
from llmtrain.launchers.launch import Launch


def runs_root(site: Site | None = None) -> Path:
    """LLMTRAIN_RUNS, else ``site.runs``, else ./outputs."""
    named = os.environ.get("LLMTRAIN_RUNS") or (site.runs if site else None)
    return Path(named).expanduser() if named else Path("outputs")


def make_folder(launch: Launch, root: Path, now: datetime, site: Site | None = None) -> Path:
    """Write the run's folder under ``root``; it appears whole, under its final name.

    Its files belong to ``site.group`` and follow ``site.umask``.

    Raises:
        LaunchError: if it cannot be written.
    """
    name = f"{launch.name}-{now:%Y%m%d-%H%M%S}"
    try:
        root.mkdir(parents=True, exist_ok=True)
        draft = root / f".{name}.{os.getpid()}"
        before = os.umask(int(site.umask, 8)) if site and site.umask else None
        try:
            _write(draft, launch, site.group if site else None)
            return _settle(draft, root, name)
        finally:
            if before is not None:
                os.umask(before)
            shutil.rmtree(draft, ignore_errors=True)
    except LookupError as error:
        raise LaunchError(Problem(code="no_group", key="site.group", says=str(error))) from error
    except OSError as error:
        says = f"the run's folder cannot be written: {error}"
        hint = "`LLMTRAIN_RUNS` or `site.runs` says where runs go"
        raise LaunchError(Problem(code="folder", says=says, hint=hint)) from error


def _write(draft: Path, launch: Launch, group: str | None) -> None:
    draft.mkdir()
    if group:
        shutil.chown(draft, group=group)
        draft.chmod(draft.stat().st_mode | stat.S_ISGID)  # what is made inside inherits it
    for name, text in launch.files.items():
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (draft / launch.script).chmod(0o755)
    for name in ("logs", "control", "checkpoints"):
        (draft / name).mkdir()


def _settle(draft: Path, root: Path, name: str) -> Path:
    """Take the first free name: two runs may begin in the same second.

    A run's folder is never empty, and so never replaced by the renaming.
    """
    for number in range(1, 1000):
        path = root / (name if number == 1 else f"{name}-{number}")
        try:
            draft.rename(path)
        except OSError as error:
            if error.errno not in (ENOTEMPTY, EEXIST, ENOTDIR):
                raise
        else:
            return path.absolute()
    raise OSError(f"no free name for {name}")


def run_folders(root: Path) -> Iterator[Path]:
    """Every run under ``root``, the newest first."""
    if not root.is_dir():
        return
    found = [path for path in root.iterdir() if (path / "launch.json").is_file()]
    yield from sorted(
        (path for path in found if not path.name.startswith(".")),
        key=lambda path: (path / "launch.json").stat().st_mtime,
        reverse=True,
    )


def find_run(name: str, root: Path) -> Path:
    """The folder of a run: a path, a name, the beginning of one name, or ``latest``.

    Raises:
        RunError: if there is none, or if several begin so.
    """
    if (Path(name) / "launch.json").is_file():
        return Path(name).absolute()
    names = [path.name for path in run_folders(root)]
    if name == "latest" and names:
        return (root / names[0]).absolute()
    matches = [name] if name in names else [each for each in names if each.startswith(name)]
    if len(matches) == 1:
        return (root / matches[0]).absolute()
    raise RunError(_not_found(name, root, names, matches))


def spoken(folder: Path) -> str:
    """What to type for a run: its name where runs are looked for, else its path."""
    return folder.name if folder.parent == runs_root().absolute() else shlex.quote(str(folder))


def _not_found(name: str, root: Path, names: list[str], matches: list[str]) -> Problem:
    if matches:
        says = f"{len(matches)} runs begin with {name!r}"
        return Problem(code="ambiguous_run", says=says, hint=", ".join(matches[:10]))
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "`llmtrain status` lists the runs"
    return Problem(code="unknown_run", says=f"there is no run {name!r} in {root}", hint=hint)
