"""Nothing that a user writes is ever run: hostile text in every field that takes text."""

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from types import UnionType
from typing import Any, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from llmtrain.config.build import build, key_of, plain
from llmtrain.config.errors import LlmtrainError
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.launch import Launch

CANARY = "canary"
TEXTS = (
    "'\"; touch CANARY; $(touch CANARY) `touch CANARY`\ntouch CANARY\n# \\' ü 日本 \u2028 $HOME",
    "$(touch${IFS}CANARY);`touch${IFS}CANARY`&touch${IFS}CANARY|touch",
    "END_OF_FILE\ntouch CANARY\nEND_OF_FILE_\n}\ntouch CANARY\n",
    "-x --export=NONE\ttouch CANARY",
    "a\rtouch CANARY\x0b\x85\x1b[31m",
)
QUOTED = ("SC1003", "SC2016", "SC2054", "SC2089", "SC2090")
"""Remarks on what stands in quotes: another quote, a dollar, a comma may have been meant."""
STAND_INS = {
    "srun": 'shift_to() { while [[ $1 == -* ]]; do shift; done; "$@"; }\n'
    'export SLURM_PROCID=0 SLURM_LOCALID=0 SLURM_STEP_NUM_TASKS=2\nshift_to "$@"',
    "apptainer": 'while [[ $1 != bash && $1 != python-stand-in ]]; do shift; done\nexec "$@"',
    "scontrol": "echo localhost",
    "python-stand-in": 'printf "%s\\n" "$@" >>"$ARGUMENTS"',
}


def keys(cls: type, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], type]]:
    """Every key that takes text: alone, in a list, or as a value beside a name."""
    for field in fields(cls):
        here = (*path, key_of(field.name))
        kinds = get_args(field.type) if isinstance(field.type, UnionType) else (field.type,)
        for kind in kinds:
            if isinstance(kind, type) and is_dataclass(kind):
                yield from keys(kind, here)
            elif kind is str or str in get_args(kind):
                yield here, get_origin(kind) or str


def with_text(data: dict[str, Any], path: tuple[str, ...], kind: type, text: str) -> dict[str, Any]:
    """``data`` with ``text`` at ``path``; where its group is not there it stays."""
    *groups, last = path
    if not groups:
        values: dict[object, Any] = {str: text, tuple: [text]}
        return {**data, last: values.get(kind, {"NAME": text})}
    inner = data.get(groups[0])
    if not isinstance(inner, Mapping):
        return data
    return {**data, groups[0]: with_text(dict(inner), path[1:], kind, text)}


@pytest.fixture
def data(launch_of: Callable[..., Launch], recipe_of: Callable[..., Recipe]) -> dict[str, Any]:
    """A recipe that uses as much of the script as there is."""
    return {
        **plain(recipe_of("recipe=gpt3-126m", "gpus=8", "backend.path=/x", "data.paths=[/d/a]")),
        "site": {
            "scheduler": "slurm",
            "modules": ["cuda"],
            "secrets": {"names": ["HF_TOKEN"], "file": "~/secrets"},
            "mounts": ["/a:/b"],
            "env": {"SITE": "1"},
            "container": {"runtime": "none", "image": "image.sif"},
            "slurm": {"version": "23.11"},
            # Its stand-in for Python looks at nothing.
            "preflight": {"policy": "warn"},
        },
    }


def accepted(
    data: dict[str, Any], text: str, launch_of: Callable[..., Launch]
) -> tuple[dict[str, Any], int]:
    """``data`` with ``text`` wherever that is not refused, and in how many places."""
    count = 0
    for path, kind in keys(Recipe):
        changed = with_text(data, path, kind, text)
        try:
            launch_of(build(Recipe, changed))
        except LlmtrainError:
            continue
        data, count = changed, count + 1
    return data, count


def run(launch: Launch, folder: Path) -> "subprocess.CompletedProcess[str]":
    """Run the batch script on commands that do nothing but go on."""
    for name, text in STAND_INS.items():
        (folder / "bin").mkdir(parents=True, exist_ok=True)
        (folder / "bin" / name).write_text(f"#!/bin/bash\n{text}\n")
        (folder / "bin" / name).chmod(0o755)
    (folder / "work").mkdir(exist_ok=True)
    (folder / "work" / "job").write_text(launch.files["job.sbatch"])
    secrets = folder / "secrets"
    secrets.write_text("HF_TOKEN=secret\n")
    secrets.chmod(0o600)
    environment = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "HOME": str(folder),
        "ARGUMENTS": str(folder / "arguments"),
        "LLMTRAIN_RUNS": str(folder / "runs"),
        "LLMTRAIN_PYTHON": "python-stand-in",
        "SLURM_SUBMIT_DIR": str(folder / "work"),
        "SLURM_JOB_ID": "17",
        "SLURM_JOB_NODELIST": "localhost",
        "SLURM_CPUS_ON_NODE": "8",
        "BASH_FUNC_module%%": "() { :; }",
    }
    return subprocess.run(
        ["bash", "job"],
        cwd=folder / "work",
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.mark.parametrize("text", TEXTS)
def test_hostile_text_in_every_field_runs_nothing(
    data: dict[str, Any],
    launch_of: Callable[..., Launch],
    remarks: Callable[..., str],
    tmp_path: Path,
    text: str,
) -> None:
    """It is refused, or it is data; the ranks are started all the same."""
    canary = tmp_path / CANARY
    changed, count = accepted(data, text.replace("CANARY", str(canary)), launch_of)
    assert count >= 10

    for runtime in ("none", "apptainer", "pyxis"):
        container = {**changed["site"]["container"], "runtime": runtime}
        site = {**changed["site"], "container": container, "mounts": [], "group": None}
        if runtime == "none":
            site |= {"software": "sbcast", "nvme": site.get("nvme") or "/n"}
        else:
            # With these two a job ends before it begins: no such file, no such node.
            site["secrets"] = data["site"]["secrets"]
            site["slurm"] = {**site["slurm"], "host_suffix": ""}
        paths = {**changed["data"], "paths": ["/d/a"], "cache": None}
        launch = launch_of(build(Recipe, {**changed, "site": site, "data": paths}))
        script = launch.files["job.sbatch"]
        assert subprocess.run(["bash", "-n"], input=script, text=True).returncode == 0
        assert remarks(launch, *QUOTED) == ""
        done = run(launch, tmp_path / runtime)

        assert not canary.exists()
        made = next((tmp_path / runtime).glob("runs/*"))
        said = (made / "logs" / "launcher.log").read_text()
        assert done.returncode == (5 if runtime == "none" else 0), done.stderr + said
        for file in set(launch.files) - {"SHA256SUMS"}:
            assert (made / file).read_bytes() == launch.files[file].encode()


@settings(max_examples=10, deadline=None, suppress_health_check=list(HealthCheck))
@given(text=st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"])))
def test_any_text_stays_what_it_is(
    recipe_of: Callable[..., Recipe], launch_of: Callable[..., Launch], text: str
) -> None:
    """Files that hold it come out of the script as they went in."""
    data = plain(recipe_of("recipe=gpt3-126m", "backend.path=/x"))
    data |= {"description": text, "env": {"A": text}, "site": {"scheduler": "slurm"}}
    launch = launch_of(build(Recipe, data))
    script = launch.files["job.sbatch"].removesuffix("main\nexit\n") + "unpack\n"

    with TemporaryDirectory() as folder:
        # Not as an argument: one may have 128 KiB, which the script comes near.
        subprocess.run(["bash"], input=script.encode(), cwd=folder, check=True)
        for path in Path(folder).rglob("*"):
            name = str(path.relative_to(folder))
            assert path.is_dir() or path.read_bytes() == launch.files[name].encode()
