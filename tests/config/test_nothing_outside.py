"""A recipe reads nothing but itself: no environment, no code, no keys of Hydra's."""

import os
from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError
from tests.config.composing import Write, mine, only, problems

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(
    "value", ["${oc.env:HOME}", "'${oc.env:HOME}'", "${oc.env:HOME,x}", "${now:%Y}", "${a.b:}"]
)
def test_a_recipe_reads_no_secret_from_the_environment(value: str) -> None:
    problem = only("recipe=gpt-tiny", f"model.name={value}")

    assert problem.code == "resolver"
    assert problem.key == "model.name"
    assert os.environ["HOME"] not in problem.message


def test_a_file_reads_no_secret_either(write: Write) -> None:
    """Below a list and below names that are the recipe's own, too."""
    text = mine() + "env:\n  TOKEN: ${oc.env:HOME}\ndata:\n  paths: ['a${oc.env:HOME}']\n"
    recipe = write("here/r.yaml", text)
    found = [(problem.code, problem.where) for problem in problems("recipe=./r.yaml")]

    assert sorted(found) == [("resolver", f"{recipe}:7"), ("resolver", f"{recipe}:9")]


@pytest.mark.parametrize(
    "argument", ["_target_=os.system", "+model._target_=os.system", "++optim._target_=x"]
)
def test_a_recipe_names_no_code(argument: str) -> None:
    problem = only("recipe=gpt-tiny", argument)

    assert problem.code == "unknown_key"
    assert problem.key.endswith("_target_")


def test_a_file_names_no_code(write: Write) -> None:
    write("here/r.yaml", mine() + "_target_: os.system\noptim: {_target_: os.system}\n")

    assert {"_target_", "optim._target_"} == {p.key for p in problems("recipe=./r.yaml")}


@pytest.mark.parametrize(
    "argument", ["hydra.searchpath=[/tmp]", "hydra/launcher=basic", "hydra.run.dir=x", "hydra=x"]
)
def test_hydras_own_keys_are_no_recipe_keys(argument: str) -> None:
    """Its search path would come in beside --recipes."""
    assert only("recipe=gpt-tiny", argument).code == "unknown_key"


def test_a_defaults_list_cannot_read_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra resolves a defaults list by itself, yet the secret in it is neither used nor shown."""
    monkeypatch.setenv("SECRET", "hunter2")
    (tmp_path / "spy.yaml").write_text("defaults: [base, model: '${oc.env:SECRET}']\n")

    with pytest.raises(RecipeError) as caught:
        compose([f"recipe={tmp_path / 'spy.yaml'}"])

    assert "hunter2" not in str([problem.as_json() for problem in caught.value.problems])
