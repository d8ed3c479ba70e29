"""What may be typed, and an answer to whatever else is."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrain.config.build import keys
from llmtrain.config.compose import compose
from llmtrain.config.errors import LlmtrainError, UsageError
from llmtrain.config.recipe import Recipe
from llmtrain.config.rules import violations
from tests.config.composing import only, problems

pytestmark = pytest.mark.usefixtures("home")


@pytest.mark.parametrize(
    ("arguments", "key", "expected"),
    [
        (["model.name=\"a b=c, d: 'e'\""], "model.name", "a b=c, d: 'e'"),
        (["model.name='{x} [y] $z #'"], "model.name", "{x} [y] $z #"),
        (["env.PATH=/a/b:/c"], "env", {"PATH": "/a/b:/c"}),
        (["env.SIZE=22"], "env", {"SIZE": "22"}),
        (["+env.NEW=x"], "env", {"NEW": "x"}),
        (["++gpus=1", "parallel.tp=1"], "gpus", 1),
        (["~schedule.warmup"], "schedule.warmup", 0),
        (["tokens=270e9"], "tokens", 270_000_000_000),
        (["tokens=1_000"], "tokens", 1000),
        (["batch={micro: 2, global: 8}"], "batch.micro", 2),
        (["data.paths=[a/b,c d]"], "data.paths", ("a/b", "c d")),
        (["parallel.layers_per_stage=[4]"], "parallel.layers_per_stage", (4,)),
        (["model=gpt3-5b", "model=gpt-tiny"], "model.layers", 4),
        (["gpu@cluster.gpu=h100-sxm5-80gb"], "cluster.gpu.arch", "hopper"),
        (["run.name=${model.name}"], "run.name", "gpt-tiny"),
        (["gpus=2.0"], "gpus", 2),
    ],
)
def test_what_may_be_typed(arguments: list[str], key: str, expected: object) -> None:
    """Hydra's grammar: quotes, lists, groups, ``+``, ``++``, ``~``, packages."""
    found: object = compose(["recipe=gpt-tiny", *arguments])
    for name in key.split("."):
        found = getattr(found, name)

    assert expected == found


@pytest.mark.parametrize(
    ("argument", "says"),
    [
        ("gpus==5", "cannot read `gpus==5`"),
        ("=5", "`=5` is not `key=value`"),
        ("model.layers=[1", "cannot read `model.layers=[1`"),
        ("model.name='", "cannot read `model.name='`"),
        ("é=1", "cannot read `é=1`"),
        ("gpus=1,2", "`gpus=1,2` gives several values"),
        ("model=gpt3-5b,llama2-7b", "`model=gpt3-5b,llama2-7b` gives several values"),
        ("gpus=range(1,9)", "`gpus=range(1,9)` gives several values"),
        ("recipe=gpt3-5b", "`recipe=` was given 2 times: gpt-tiny, gpt3-5b"),
        ("--gpus=4", "cannot read `--gpus=4`"),
        ("", "`` is not `key=value`"),
    ],
)
def test_what_cannot_be_read(argument: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        compose(["recipe=gpt-tiny", argument])

    assert caught.value.problems[0].message.startswith(says)


def test_every_argument_without_a_value_is_said() -> None:
    found = problems("one", "recipe=gpt-tiny", "two")

    assert [problem.message for problem in found] == [
        "`one` is not `key=value`",
        "`two` is not `key=value`",
    ]


def test_no_recipe_at_all() -> None:
    problem = only("gpus=1")

    assert (*(problem.message, problem.hint),) == (
        "no recipe: say `recipe=NAME`",
        "`llmtrain recipes` lists them",
    )


@pytest.mark.parametrize(
    "argument",
    [
        *("~nothing", "+gpu=2", "model@foo=gpt3-5b", "++cluster=local-gpu", "model/x=y"),
        *("cluster=null", "cluster=[a]", "cluster=", "batch=[1]", "parallel=null", "~gpus"),
        *("model.name=${nothing}", "run.name=${run.name}", "gpus=???", "gpus=", "a.b.c=3"),
        *("gpus=1e400", "gpus=0x10", "model.layers=1e999", "x" * 3000 + "=1", "model=../x"),
        *("defaults=[base]", "model.mla=3", "cluster.env.A=3", "site=nowhere", "name=null"),
    ],
)
def test_nothing_is_traced_back(argument: str) -> None:
    """Hydra's and OmegaConf's own complaints become ours, in one line."""
    for problem in problems("recipe=gpt-tiny", argument):
        assert "\n" not in problem.message
        assert problem.code


odd = st.sampled_from(
    [
        *("0", "1", "-1", "2.5", "8", "1e400", "null", "true", "''", "x", "[]", "[1,2]", "{}"),
        *("{a: 1}", "1,2", "${gpus}", "${x}", "${oc.env:HOME}", "'a b'", "???", "bf16", "nan"),
    ]
)

argument = st.builds(
    "{}{}={}".format,
    st.sampled_from(["", "", "", "+", "++", "~"]),
    st.sampled_from([*keys(Recipe), "model.x", "x", "hydra.verbose"]),
    odd,
)


@pytest.mark.parametrize("recipe", ["gpt-tiny", "gpt3-530b", "deepseek-v3"])
def test_whatever_is_typed_is_answered(recipe: str) -> None:
    """A recipe or mistakes, never a traceback; what is offered composes."""

    @given(typed=st.lists(argument, min_size=1, max_size=3))
    @settings(deadline=None, derandomize=True, max_examples=8)
    def answered(typed: list[str]) -> None:
        try:
            found = compose([f"recipe={recipe}", *typed])
        except LlmtrainError as error:
            assert error.problems
            assert all(problem.message for problem in error.problems)
        else:
            assert violations(found) == ()

    answered()
