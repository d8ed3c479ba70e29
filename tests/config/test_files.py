"""A resolved recipe is a file that needs no composition, and can be run again."""

from pathlib import Path

import pytest
import yaml

from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError
from llmtrain.config.files import dump_recipe, read_recipe
from llmtrain.config.search import search_path


@pytest.mark.parametrize("name", search_path().recipes())
def test_a_recipe_survives_its_file(tmp_path: Path, name: str) -> None:
    """Read back it is the same recipe, and so it is when composed by its path."""
    recipe = compose([f"recipe={name}", "env.ODD='a: \"b\" #c, 1e5'", "env.N='22'"])
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")

    assert recipe == read_recipe(path)
    assert recipe == compose([f"recipe={path}"])
    assert dump_recipe(recipe) == dump_recipe(read_recipe(path))


def test_a_resolved_file_can_be_changed_from_the_command_line(tmp_path: Path) -> None:
    """Its groups are in it: keys and whole groups still change."""
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(compose(["recipe=gpt3-530b"])))
    recipe = compose([f"recipe={path}", "gpus=1120", "optim.lr=1e-3"])

    assert (recipe.gpus, recipe.optim.lr, recipe.name) == (1120, 1e-3, "gpt3-530b")


def test_a_name_from_unicode_survives(tmp_path: Path) -> None:
    recipe = compose(["recipe=gpt-tiny", "model.name='größe ✓ \\'x\\''"])
    path = tmp_path / "recipe.yaml"
    path.write_text(dump_recipe(recipe), encoding="utf-8")

    assert read_recipe(path).model.name == "größe ✓ 'x'"
    assert "größe ✓" in path.read_text(encoding="utf-8")


def test_a_file_is_plain_data() -> None:
    """No tag of Python's: any YAML reader can read it."""
    text = dump_recipe(compose(["recipe=deepseek-v3"]))

    assert "!!" not in text
    assert yaml.safe_load(text)["batch"]["global"] == 15360


@pytest.mark.parametrize(("text", "says"), [(None, "cannot read"), ("a: [", "cannot read")])
def test_a_file_that_cannot_be_read(tmp_path: Path, text: str | None, says: str) -> None:
    path = tmp_path / "recipe.yaml"
    if text is not None:
        path.write_text(text)

    with pytest.raises(RecipeError, match=says):
        read_recipe(path)


def test_a_file_that_is_no_recipe(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_text("gpus: 1\nx: 2\n")
    with pytest.raises(RecipeError) as caught:
        read_recipe(path)

    found = {problem.key: problem.code for problem in caught.value.problems}
    missing = ("name", "model", "cluster", "backend", "batch")
    assert found == {"x": "unknown_key", **dict.fromkeys(missing, "missing")}
