"""Where a mistake was set: file and line, or the argument."""

import pytest

from tests.config.composing import SHIPPED, Write, mine, only, problems

pytestmark = pytest.mark.usefixtures("home")


def test_a_mistake_in_a_file_says_its_line(write: Write) -> None:
    """In the recipe, in a group, and in a group's own package."""
    recipe = write("here/r.yaml", mine() + "parallel:\n  tp: 2\n  tpp: 2\n")
    model = write("here/model/gpt-tiny.yaml", (SHIPPED / "model/gpt-tiny.yaml").read_text())
    model.write_text(model.read_text() + "colour: red\n")
    last = len(model.read_text().splitlines())
    found = {problem.key: problem.where for problem in problems("recipe=./r.yaml")}

    assert found == {
        "parallel.tpp": f"{recipe}:8",
        "model.colour": f"{model}:{last}",
    }


def test_a_mistake_is_in_the_recipes_own_file(write: Write) -> None:
    """Also where folders of the user's are searched before the one it lies in."""
    write("config/llmtrain/model/mine.yaml", "name: mine")
    gpus, *_ = problems("recipe=gpt3-530b", "parallel.tp=7")

    assert gpus.where.startswith(f"{SHIPPED}/gpt3-530b.yaml:")


def test_the_command_line_set_it_last(write: Write) -> None:
    """Of several arguments the last one did; a whole group's argument set every key in it."""
    write("here/r.yaml", mine() + "parallel: {tp: 0}\n")

    assert only("recipe=./r.yaml", "parallel.tp=0").where == "command line: parallel.tp=0"
    assert only("recipe=./r.yaml", "gpus=x", "gpus=y", "parallel.tp=2").where == (
        "command line: gpus=y"
    )
    assert only("recipe=gpt-tiny", "parallel={tp: 0}").where == "command line: parallel={tp: 0}"
    assert only("recipe=gpt-tiny", "parallel.tp.x=3").where == "command line: parallel.tp.x=3"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("gpus: 1\nmodel: [\n", "r.yaml:3 is not YAML: expected the node content"),
        ("a: !!b\n", "r.yaml:1 is not YAML: could not determine a constructor"),
        ("a: 1\na: 2\n", "r.yaml:2 is not YAML: found duplicate key a"),
    ],
)
def test_a_file_that_is_not_yaml_says_its_line(write: Write, text: str, says: str) -> None:
    write("here/r.yaml", text)

    assert says in only("recipe=./r.yaml").message
