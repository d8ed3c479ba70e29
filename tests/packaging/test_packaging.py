"""What an install gives: every folder in the wheel, a command line without the training stack."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SETUPTOOLS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]
FOLDERS: dict[str, str] = {
    package: folder
    for package, folder in SETUPTOOLS["package-dir"].items()
    if package != "llmtrain"
}
TRAINING_STACK = {"deepspeed", "megatron", "torch"}


def output_of(*command: str | Path, cwd: Path = ROOT) -> str:
    """What the command prints; its own messages become the failure's."""
    # PYTHONPATH could offer the checkout where only the wheel is meant.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=environment)
    assert done.returncode == 0, f"{done.args}\n{done.stdout}{done.stderr}"
    return done.stdout


def project_files() -> list[Path]:
    """Every file that is or could be committed."""
    # The checkout may belong to another user than the one who runs the tests.
    git = ("git", "-c", f"safe.directory={ROOT}")
    names = output_of(*git, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    return [path for name in names.split("\0") if (path := ROOT / name).is_file()]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the sdist so that both hold everything."""
    out = tmp_path_factory.mktemp("dist")
    output_of(sys.executable, "-m", "build", "--no-isolation", "--outdir", out, ROOT)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of a new virtual environment that holds the wheel and the base dependencies."""
    venv = tmp_path_factory.mktemp("venv")
    output_of(sys.executable, "-m", "venv", venv)
    pip = (venv / "bin/pip", "install", "-qq", "--use-pep517")
    output_of(*pip, "--constraint", ROOT / "requirements.lock", wheel)
    return venv / "bin"


def test_every_package_on_disk_is_declared() -> None:
    found = {
        ".".join([package, *init.parent.relative_to(ROOT / folder).parts])
        for package, folder in FOLDERS.items()
        for init in (ROOT / folder).rglob("__init__.py")
    }

    assert found | {"llmtrain"} == set(SETUPTOOLS["packages"])


def test_every_module_lies_in_a_package() -> None:
    stray = [
        module.relative_to(ROOT)
        for folder in FOLDERS.values()
        for module in (ROOT / folder).rglob("*.py")
        if not (module.parent / "__init__.py").exists()
    ]

    assert stray == []


def test_every_folder_is_linked_for_type_checkers() -> None:
    links = {
        link.name: str(link.readlink())
        for link in (ROOT / "llmtrain").iterdir()
        if link.is_symlink()
    }

    assert links == {folder: f"../{folder}" for folder in FOLDERS.values()}


def test_the_wheel_holds_every_file(wheel: Path) -> None:
    prefixes = {ROOT / folder: f"llmtrain/{folder}" for folder in FOLDERS.values()}
    expected = {"llmtrain/__init__.py", "llmtrain/py.typed"} | {
        f"{prefix}/{path.relative_to(folder)}"
        for path in project_files()
        for folder, prefix in prefixes.items()
        if path.is_relative_to(folder)
    }
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if name.startswith("llmtrain/")}

    assert packed == expected


def test_the_installed_command_works_from_anywhere(installed: Path) -> None:
    root = Path("/")
    recipes = output_of(installed / "llmtrain", "recipes", cwd=root)
    plan = json.loads(
        output_of(installed / "llmtrain", "plan", "recipe=gpt3-530b", "--json", cwd=root)
    )
    packages = json.loads(output_of(installed / "pip", "list", "--format", "json", cwd=root))

    assert "gpt3-530b" in recipes
    assert (plan["parallel"]["tp"], plan["parallel"]["pp"]) == (8, 35)
    assert not {"deepspeed", "megatron-core", "torch"} & {each["name"] for each in packages}


def test_the_command_line_starts_without_the_training_stack() -> None:
    code = "import json, sys, llmtrain.cli.main; print(json.dumps(sorted(sys.modules)))"
    loaded = json.loads(output_of(sys.executable, "-c", code))

    assert not TRAINING_STACK & {module.partition(".")[0] for module in loaded}


def test_the_lock_names_exact_versions_and_no_place() -> None:
    """Where a package comes from is the installing machine's business."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    other = [
        line for line in lines if not re.fullmatch(r"#.*|[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line)
    ]

    assert other == []
    assert "torch==2.13.0" in lines


def test_no_file_names_the_folder_it_was_written_in() -> None:
    here = re.compile(rb"(?<![\w.-])%s(?![\w.-])" % re.escape(os.fsencode(ROOT)))
    naming = [path.relative_to(ROOT) for path in project_files() if here.search(path.read_bytes())]

    assert naming == []
