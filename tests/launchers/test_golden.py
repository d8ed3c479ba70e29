"""What is launched for every shipped recipe on its own cluster and backend, compared with files.

When a change is meant, ``make golden`` writes the files anew, and ``git diff tests/golden`` shows
what it does to them.
"""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from llmtrain.config.search import search_path
from llmtrain.launchers.launch import Launch
from llmtrain.planner.plan import Plan
from tests.launchers.golden_text import golden_text

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPTS = {
    "gpt-tiny": ("recipe=gpt-tiny",),
    "gpt3-530b": ("recipe=gpt3-530b", "backend.path=/opt/megatron-lm"),
}
SHIPPED = sorted(search_path().recipes())


def check(file: Path, rendered: str) -> None:
    """What is rendered is the file, to the byte."""
    if os.environ.get("REGENERATE"):
        file.write_text(rendered, encoding="utf-8")

    assert rendered == file.read_text(encoding="utf-8")


@pytest.mark.parametrize("recipe", SHIPPED)
def test_what_each_shipped_recipe_launches(plan_of: Callable[..., Plan], recipe: str) -> None:
    """Program, every argument, DeepSpeed's JSON, environment with who sets it, what is missing."""
    check(GOLDEN / "recipes" / f"{recipe}.txt", golden_text(plan_of(f"recipe={recipe}")))


def test_there_is_a_file_for_each_recipe_and_no_other() -> None:
    """A recipe that is gone leaves no file behind."""
    assert sorted(file.stem for file in (GOLDEN / "recipes").iterdir()) == SHIPPED


@pytest.mark.parametrize("recipe", SCRIPTS)
@pytest.mark.parametrize(("file", "suffix"), [("job.sh", ".sh"), ("env.json", ".env.json")])
def test_whole_scripts(
    launch_of: Callable[..., Launch], recipe: str, file: str, suffix: str
) -> None:
    """The script that starts the ranks, and the environment with reasons and sources."""
    check(GOLDEN / f"{recipe}{suffix}", launch_of(*SCRIPTS[recipe]).files[file])
