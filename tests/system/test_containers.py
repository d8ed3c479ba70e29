"""Containers, imitated where it matters: images and launchers that change the environment."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.system.conftest import Bed

IMAGE = f"registry#image@sha256:{'0' * 64}"
IMAGE_ENV = "NCCL_DEBUG=VERSION MASTER_ADDR=localhost"
"""What the image sets: under pyxis and apptainer it wins over the job, unless a name is listed."""

PYXIS = f"""
options=() kept=
while [[ $1 == -* ]]; do
    case $1 in
    --container-env=*) kept=,${{1#*=}}, ;;
    --*container-*) echo "$1" >>"$LLMTRAIN_RUN/container" ;;
    *) options+=("$1") ;;
    esac
    shift
done
image=()
for pair in {IMAGE_ENV}; do
    [[ $kept == *,${{pair%%=*}},* ]] || image+=("$pair")
done
exec @REAL@ "${{options[@]}}" env "${{image[@]}}" "$@"
"""
APPTAINER = f"""
[[ $1 == exec ]] && shift
inside=()
while [[ $1 == -* ]]; do
    case $1 in
    --env) inside+=("$2") && shift 2 ;;
    --bind | --pwd) echo "$1 $2" >>"$LLMTRAIN_RUN/container" && shift 2 ;;
    *) shift ;;
    esac
done
for name in ${{!APPTAINERENV_@}}; do inside+=("${{name#APPTAINERENV_}}=${{!name}}"); done
shift
exec env {IMAGE_ENV} "${{inside[@]}}" "$@"
"""
HOOK = """
options=()
while [[ $1 == -* ]]; do options+=("$1") && shift; done
exec @REAL@ "${options[@]}" env CHANGE "$@"
"""
"""Stands for a prolog, a hook in enroot's environ.d, or a launcher with a list of its own."""


def words(bed: Bed, program: str, runtime: str) -> tuple[str, ...]:
    """A run in a container that sees the test's folder."""
    mounts = f"site.mounts=[{bed.folder}:{bed.folder}]"
    image = (f"site.container.runtime={runtime}", f"site.container.image='{IMAGE}'")
    return ("recipe=bed-program", program, *image, mounts, "site.python=python3")


def probes(folder: Path) -> list[dict[str, str]]:
    """What differs, on every node."""
    found = [json.loads(path.read_text()) for path in folder.glob("logs/*/environment.json")]
    assert len(found) == 2
    return [each for probe in found for each in probe["variables"] if each["changed_by"]]


@pytest.mark.parametrize(("runtime", "command"), [("pyxis", PYXIS), ("apptainer", APPTAINER)])
def test_the_environment_reaches_the_ranks_in_a_container(
    bed: Bed, program: str, shims: Callable[..., str], runtime: str, command: str
) -> None:
    """Although the image says otherwise: every name is listed. The run's folder is mounted."""
    path = shims(**{"srun" if runtime == "pyxis" else "apptainer": command})
    folder = bed.launch(runtime, *words(bed, program, runtime), PATH=path)

    assert bed.wait(folder)["status"] == "finished"
    assert probes(folder) == []
    assert f"{folder}:{folder}" in (folder / "container").read_text()


@pytest.mark.parametrize(
    ("change", "effective", "says"),
    [
        ("NCCL_DEBUG=INFO", "INFO", "the node"),
        ("-u NCCL_DEBUG", None, "dropped on the way"),
    ],
)
def test_what_changes_or_drops_a_variable_is_caught(
    bed: Bed,
    program: str,
    shims: Callable[..., str],
    change: str,
    effective: str | None,
    says: str,
) -> None:
    """On every node, before a rank starts; the run fails, or goes on with ``site.probe=warn``."""
    path = shims(srun=HOOK.replace("CHANGE", change))
    folders = [
        bed.launch(policy, "recipe=bed-program", program, f"site.probe={policy}", PATH=path)
        for policy in ("fail", "warn")
    ]

    assert [bed.wait(folder)["status"] for folder in folders] == ["failed", "finished"]
    for folder in folders:
        for found in probes(folder):
            assert (found["name"], found["asked"]) == ("NCCL_DEBUG", "WARN")
            assert found["effective"] == effective
            assert found["changed_by"].startswith(says)
        assert "NCCL_DEBUG: asked 'WARN'" in (folder / "logs" / "launcher.log").read_text()


def test_a_checkout_that_is_here_is_mounted(bed: Bed, program: str) -> None:
    """A dry run says who asks for it; one that is not here has to be in the image."""
    run = ("run", "--dry-run", "--json", *words(bed, program, "pyxis"), "site.mounts=[]")
    places = ((), ("backend.path=/opt/megatron-lm",))
    here, image = (json.loads(bed.llmtrain(*run, *place))["launch"] for place in places)

    sources = {each["host"]: each["source"] for each in here["mounts"]}
    assert sources[f"{bed.folder}/checkout"] == "`backend.path`"
    assert f"checkout: {bed.folder}/checkout mounted" in here["notes"]
    assert "/opt/megatron-lm" not in [each["inside"] for each in image["mounts"]]
    assert "checkout: /opt/megatron-lm in the image" in image["notes"]


def test_secrets_reach_the_ranks_and_no_file(
    bed: Bed, program: str, shims: Callable[..., str]
) -> None:
    """From a file that only its owner reads; another one is refused, and so is a missing name."""
    secrets = bed.folder / "secrets"
    secrets.write_text("HF_TOKEN=hf_tr0ub4dor\nOTHER=1\n")
    more = (f"site.secrets.file={secrets}", "site.secrets.names=[HF_TOKEN]")
    quiet = bed.folder / "quiet"
    quiet.mkdir()
    (quiet / "pretrain_gpt.py").write_text(
        "import os; assert os.environ['HF_TOKEN'] == 'hf_tr0ub4dor'; print('has it')\n"
    )
    secrets.chmod(0o600)
    run = words(bed, f"backend.path={quiet}", "apptainer")
    folder = bed.launch("secret", *run, *more, PATH=shims(apptainer=APPTAINER))
    assert bed.wait(folder)["status"] == "finished"

    assert len(probes(folder)) == 0
    for path in folder.rglob("*"):
        assert path.is_dir() or b"hf_tr0ub4dor" not in path.read_bytes()
    secrets.chmod(0o644)
    folder = bed.launch("open", "recipe=bed-program", f"backend.path={quiet}", *more)
    state = bed.wait(folder)
    assert state["status"] == "failed" and "mode 644" in state["error"]
