"""Where a launch was prepared: code, packages, interpreter. The only look at the machine."""

import hashlib
import os
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import llmtrain

PACKAGES = ("torch", "megatron-core", "deepspeed", "numpy", "hydra-core", "omegaconf")
"""Packages whose versions change what a run computes."""


FILES = 200
"""So many names of files that git does not know are kept."""
DIFF_BYTES = 1_000_000
"""Of a longer difference only the digest is kept: Slurm takes no script above 4 MB
(``max_script_size``, slurm.conf(5)), and everything stands in it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Code:
    """A checkout: what was in it when the launch was prepared."""

    path: str
    """Its folder."""
    is_here: bool = False
    """It is on this machine, not only on the nodes or in an image."""
    commit: str | None = None
    """Git commit; None: it is no checkout, or is not here."""
    diff: str = ""
    """What differs from that commit."""
    untracked: tuple[str, ...] = ()
    """Files that git does not know, and the difference therefore does not show."""

    def as_json(self) -> dict[str, Any]:
        """The same for provenance.json, but for where it lies."""
        return {"commit": self.commit, "diff": self.diff, "untracked": list(self.untracked)}


@dataclass(frozen=True, kw_only=True, slots=True)
class Provenance:
    """What was there when the launch was prepared."""

    python: str
    """The interpreter that starts the ranks."""
    package: str = ""
    """The folder that a container must see for llmtrain to be there."""
    package_inside: str = ""
    """What is appended to the place of that folder in a container: it is the package itself, or
    the checkout around it."""
    packages: dict[str, str | None]
    """Versions; None: not installed."""
    here: Code = Code(path=".")
    """The working directory."""
    program: Code | None = None
    """The checkout that the recipe names, ``backend.path``; None: it names none."""

    def as_json(self) -> dict[str, Any]:
        """The content of provenance.json, but for the container's image, which the site names."""
        return {
            "llmtrain": llmtrain.__version__,
            "python": sys.version.split()[0],
            "packages": self.packages,
            "git": self.here.as_json(),
            "program": self.program and {"path": self.program.path, **self.program.as_json()},
        }


def provenance(program: str | None = None, here: Path | None = None) -> Provenance:
    """Read it from this machine.

    Args:
        program: the checkout of the training program.
        here: the checkout that this is prepared in, the working directory by default.
    """
    own = Path(llmtrain.__file__).parent
    # In a checkout the package holds links to the folders beside it.
    package = own.parent if (own / "config").is_symlink() else own
    return Provenance(
        python=sys.executable,
        package=str(package),
        package_inside="" if package != own else "/llmtrain",
        packages={name: _version(name) for name in PACKAGES},
        here=code(here or Path()),
        program=code(Path(program)) if program else None,
    )


def code(folder: Path) -> Code:
    """What is in the checkout ``folder``, which need not be one."""
    if not folder.exists():
        return Code(path=str(folder))
    where = folder if folder.is_dir() else folder.parent
    diff = _git(where, "diff", "--no-color", "--no-ext-diff", "HEAD")
    if len(diff.encode()) > DIFF_BYTES:
        digest = hashlib.sha256(diff.encode()).hexdigest()
        diff = f"not kept: {len(diff.encode())} bytes with sha256 {digest}"
    others = _git(where, "ls-files", "--others", "--exclude-standard", "--full-name", "-z", ":/")
    return Code(
        path=str(folder),
        is_here=True,
        commit=_git(where, "rev-parse", "HEAD") or None,
        diff=diff,
        untracked=tuple(sorted(name for name in others.split("\0") if name)[:FILES]),
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _git(where: Path, *arguments: str) -> str:
    environment = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        done = subprocess.run(
            ["git", "-C", str(where), *arguments],
            capture_output=True,
            text=True,
            errors="replace",
            timeout=20,
            env=environment,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip("\n") if done.returncode == 0 else ""
