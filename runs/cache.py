"""The job that builds the index of the data before the run's own: whether it is needed."""

import hashlib
import json
from pathlib import Path

from llmtrain.config.home import expanded
from llmtrain.runs import slurm
from llmtrain.runs.slurm import Submitted

SCRIPT = "cache.sbatch"
FACTS = "cache.json"


def submit_cache(folder: Path) -> Submitted | None:
    """Submit the cache job of the run in ``folder``; None: it has none, or all is there.

    Raises:
        LaunchError: if Slurm refuses it.
    """
    if not (folder / SCRIPT).is_file() or is_current(folder):
        return None
    job = slurm.submit(folder, SCRIPT, record=False)
    (folder / "control" / "cache-job").write_text(f"{job.job}\n")
    return job


def cache_job(folder: Path) -> str | None:
    """Number of the cache job that was submitted last for the run."""
    try:
        return (folder / "control" / "cache-job").read_text().strip() or None
    except OSError:
        return None


def is_current(folder: Path) -> bool:
    """Whether the mark of the recipe's data lies in its cache, as cache.sbatch leaves it.

    False also where this machine does not see the data: then the job looks itself.
    """
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    try:
        states = [(name, Path(name).stat()) for name in facts["files"]]
    except OSError:
        return False
    state = "\n".join(f"{name} {found.st_size} {int(found.st_mtime)}" for name, found in states)
    text = f"{facts['digest']}\n{state}"
    mark = hashlib.sha256(text.encode()).hexdigest()
    return (expanded(facts["folder"]) / f".llmtrain-{mark}").is_file()
