"""The search path: which folder's file a name is, and recipes by path."""

import os
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError
from tests.config.composing import SHIPPED, Write, mine, only

pytestmark = pytest.mark.usefixtures("home")


def test_folders_are_searched_in_order(
    home: Path, write: Write, monkeypatch: pytest.MonkeyPatch
) -> None:
    """--recipes, then LLMTRAIN_RECIPES in its order, then the user's own, then the package."""
    write("config/llmtrain/gpt-tiny.yaml", mine("user"))
    write("env2/gpt-tiny.yaml", mine("second of the environment"))
    write("env1/gpt-tiny.yaml", mine("first of the environment"))
    write("dir/gpt-tiny.yaml", mine("--recipes"))
    found = [compose(["recipe=gpt-tiny"]).description]
    monkeypatch.setenv("LLMTRAIN_RECIPES", str(home / "env2"))
    found.append(compose(["recipe=gpt-tiny"]).description)
    monkeypatch.setenv("LLMTRAIN_RECIPES", f"{home / 'env1'}{os.pathsep}{home / 'env2'}")
    found.append(compose(["recipe=gpt-tiny"]).description)
    found.append(compose(["recipe=gpt-tiny"], [home / "dir"]).description)

    assert found == [
        *("user", "second of the environment", "first of the environment", "--recipes")
    ]


def test_the_current_folder_is_not_searched(write: Write) -> None:
    write("here/hers.yaml", mine())
    write("here/model/gpt-tiny.yaml", "name: not this")

    assert only("recipe=hers").code == "unknown_recipe"
    assert compose(["recipe=gpt-tiny"]).model.name != "not this"


@pytest.mark.parametrize("path", ["hers.yaml", "./hers.yaml", "~/hers.yaml", "{here}/hers.yaml"])
def test_a_recipe_by_path(
    home: Path, write: Write, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setenv("HOME", str(home / "here"))
    write("here/hers.yaml", mine())
    recipe = compose([f"recipe={path.format(here=home / 'here')}", "gpus=1"])

    assert (recipe.name, recipe.description, recipe.gpus) == ("hers", "mine", 1)


def test_a_path_is_not_another_recipe_of_its_name(write: Write) -> None:
    """The user's gpt-tiny comes first by name; by path it is the file that was named."""
    write("config/llmtrain/gpt-tiny.yaml", mine())

    assert compose(["recipe=gpt-tiny"]).description == "mine"
    assert compose([f"recipe={SHIPPED}/gpt-tiny.yaml"]).description != "mine"


@pytest.mark.parametrize("name", ["a b", "a,b", "a=b", "a'b", "a.b", "ä", "a(b)", "10"])
def test_folders_and_recipes_of_odd_names(home: Path, write: Write, name: str) -> None:
    write(f"{name}/{name}.yaml", mine())

    assert compose([f"recipe={home}/{name}/{name}.yaml"]).name == name
    assert compose([f"recipe={name}"], [home / name]).name == name


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("recipe=./no.yaml", "there is no file ./no.yaml"),
        ("recipe=../here", "there is no file ../here"),
        ("recipe={file}", "{file} is not a .yaml"),
    ],
)
def test_a_path_to_nothing(write: Write, argument: str, says: str) -> None:
    file = write("here/recipe.txt", "")

    assert only(argument.format(file=file)).message == says.format(file=file)


def test_a_folder_that_was_named_must_exist(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A slip in --recipes would otherwise run another recipe; default folders need not exist."""
    with pytest.raises(RecipeError, match="there is no folder of recipes"):
        compose(["recipe=gpt-tiny"], [home / "nowhere"])
    monkeypatch.setenv("LLMTRAIN_RECIPES", str(home / "nowhere"))
    with pytest.raises(RecipeError, match="there is no folder of recipes"):
        compose(["recipe=gpt-tiny"])


def test_a_cluster_and_a_site_of_ones_own(write: Write) -> None:
    """One file each, and no code; the cluster starts from one that ships."""
    write(
        "config/llmtrain/cluster/ours.yaml",
        "defaults: [dgx-h100, _self_]\nname: ours\nnodes: 4\n",
    )
    write("config/llmtrain/site/ours.yaml", "name: ours\nscheduler: slurm\naccount: abc\n")
    recipe = compose(["recipe=gpt3-5b", "gpus=32", "cluster=ours", "site=ours"])

    assert (*(recipe.cluster.name, recipe.cluster.nodes, recipe.cluster.gpu.name[:4]),) == (
        "ours",
        4,
        "H100",
    )
    assert (*(recipe.site.name, recipe.site.scheduler, recipe.site.account),) == (
        "ours",
        "slurm",
        "abc",
    )
    assert only("recipe=gpt3-5b", "cluster=our").hint.startswith("Did you mean `cluster=ours`")
