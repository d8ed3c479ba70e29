"""Recipes and launches without the machine they are made on."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.recipe import Recipe
from llmtrain.launchers.launch import Launch
from llmtrain.launchers.prepare import prepare
from llmtrain.launchers.provenance import Provenance
from llmtrain.planner.plan import Plan, make_plan

PROVENANCE = Provenance(python="python", packages={"numpy": "1.0", "torch": None})


@pytest.fixture(autouse=True)
def no_site(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Only the package's own recipes are found."""
    monkeypatch.delenv("LLMTRAIN_RECIPES", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))


@pytest.fixture(scope="session")
def recipe_of() -> Callable[..., Recipe]:
    """A recipe from arguments."""
    return lambda *arguments: compose(arguments)


@pytest.fixture(scope="session")
def plan_of() -> Callable[..., Plan]:
    """A plan from arguments."""
    return lambda *arguments: make_plan(compose(arguments))


@pytest.fixture(scope="session")
def launch_of() -> Callable[..., Launch]:
    """A launch from arguments or from a recipe, as another machine would prepare it too."""

    def prepared(first: str | Recipe, *others: str, python: str = "python") -> Launch:
        recipe = compose([first, *others]) if isinstance(first, str) else first
        return prepare(make_plan(recipe), replace(PROVENANCE, python=python))

    return prepared


@pytest.fixture
def write(tmp_path: Path) -> Callable[[Launch], Path]:
    """A folder with the launch's files, as plain files: nothing of the run's own code."""

    def written(launch: Launch) -> Path:
        folder = tmp_path / "written"
        folder.mkdir()
        for name, text in launch.files.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_bytes(text.encode())
        return folder

    return written
