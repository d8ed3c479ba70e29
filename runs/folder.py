"""Run folders: where they are, how one is made whole or not at all, how one is found."""

import json
import os
import shlex
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from difflib import get_close_matches
from errno import EEXIST, ENOTDIR, ENOTEMPTY
from pathlib import Path
from typing import Any

from llmtrain.config.errors import LaunchError, Problem, RecipeError, RunError
from llmtrain.config.home import expanded
from llmtrain.config.search import search_path
from llmtrain.config.site import Site
from llmtrain.launchers.launch import Launch


def runs_root(site: Site | None = None) -> Path:
    """LLMTRAIN_RUNS, else ``site.runs``, else ./outputs."""
    named = os.environ.get("LLMTRAIN_RUNS") or (site.runs if site else None)
    return expanded(named) if named else Path("outputs")


def run_roots() -> tuple[Path, ...]:
    """Where runs are looked for: LLMTRAIN_RUNS, else ./outputs and ``runs`` of the sites here.

    Which site a run was made for is not known before it is found, so all of the user's count.
    """
    if os.environ.get("LLMTRAIN_RUNS"):
        return (runs_root(),)
    named = [expanded(runs) for runs in _site_runs()]
    found = {path.absolute(): path for path in (runs_root(), *named)}
    return tuple(found.values())


def _site_runs() -> Iterator[str]:
    """``runs`` of the site files that do not come with the package, where it is a plain text."""
    try:
        *own, _ = search_path().folders
    except RecipeError:  # a folder that is not there has no sites
        return
    files = [file for folder in own for file in sorted((folder / "site").glob("*.yaml"))]
    if not files:
        return
    import yaml

    for file in files:
        with suppress(OSError, ValueError, yaml.YAMLError):
            data = yaml.safe_load(file.read_text(encoding="utf-8"))
            runs = data.get("runs") if isinstance(data, dict) else None
            if isinstance(runs, str) and "$" not in runs:
                yield runs


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
            _write(draft, launch, site)
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


def _write(draft: Path, launch: Launch, site: Site | None) -> None:
    draft.mkdir()
    if site and site.group:
        shutil.chown(draft, group=site.group)
        draft.chmod(draft.stat().st_mode | stat.S_ISGID)  # what is made inside inherits it
    for name, text in launch.files.items():
        path = draft / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    (draft / launch.script).chmod(0o755)
    for name in ("logs", "control"):
        (draft / name).mkdir()
    # Where the site has a place of its own for them the job makes a link to it.
    if not (site and site.checkpoints):
        (draft / "checkpoints").mkdir()


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


def run_folders(*roots: Path) -> Iterator[Path]:
    """Every run under ``roots``, the newest first."""
    there = (path for root in roots if root.is_dir() for path in root.iterdir())
    found = [path for path in there if (path / "launch.json").is_file()]
    yield from sorted(
        (path for path in found if not path.name.startswith(".")),
        key=lambda path: (path / "launch.json").stat().st_mtime,
        reverse=True,
    )


def find_run(name: str) -> Path:
    """The folder of a run: a path, a name, the beginning of one name, or ``latest``.

    Names are looked for in all of :func:`run_roots`.

    Raises:
        RunError: if there is none, or if several begin so.
    """
    if (Path(name) / "launch.json").is_file():
        return Path(name).absolute()
    roots = run_roots()
    known = list(run_folders(*roots))
    if name == "latest" and known:
        return known[0].absolute()
    same = [path for path in known if path.name == name]
    matches = same or [path for path in known if path.name.startswith(name)]
    if len(matches) == 1:
        return matches[0].absolute()
    names, found = [path.name for path in known], [path.name for path in matches]
    raise RunError(_not_found(name, roots, names, found))


def spoken(folder: Path) -> str:
    """What to type for a run: its name where runs are looked for, else its path."""
    known = folder.parent in {root.absolute() for root in run_roots()}
    return folder.name if known else shlex.quote(str(folder))


def _not_found(name: str, roots: tuple[Path, ...], names: list[str], matches: list[str]) -> Problem:
    if matches:
        says = f"{len(matches)} runs begin with {name!r}"
        return Problem(code="ambiguous_run", says=says, hint=", ".join(matches[:10]))
    close = get_close_matches(name, names, n=3, cutoff=0.5)
    where = " or ".join(map(str, roots))
    hint = f"did you mean {' or '.join(close)}?" if close else "`llmtrain status` lists the runs"
    return Problem(code="unknown_run", says=f"there is no run {name!r} in {where}", hint=hint)


def read_plan(folder: Path) -> dict[str, Any]:
    """plan.json; empty if it cannot be read."""
    return read_prepared(folder, "plan.json")


def read_prepared(folder: Path, name: str) -> dict[str, Any]:
    """A JSON file that the launch has left; empty if it cannot be read."""
    try:
        found = json.loads((folder / name).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
