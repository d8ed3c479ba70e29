"""Composition: an answer to every mistake, with what would work."""

from pathlib import Path

import pytest

from llmtrain.config.compose import compose
from llmtrain.config.errors import RecipeError, UsageError
from llmtrain.config.files import dump_recipe
from llmtrain.config.repairs import Judge
from llmtrain.config.rules import violations
from llmtrain.planner.mending import LAUNCH
from tests.config.composing import SHIPPED, Write, only, overrides, problems

pytestmark = pytest.mark.usefixtures("home")


def test_an_unknown_key_says_what_was_meant() -> None:
    problem = only("recipe=gpt3-530b", "parallel.tpp=8")

    assert problem.message == "`parallel.tpp` is not a recipe key"
    assert problem.hint.startswith("Did you mean `parallel.tp`? in parallel: tp, pp, vpp, cp")
    assert problem.where == "command line: parallel.tpp=8"
    assert overrides(problem) == ["parallel.tp=8"]


def test_a_layout_that_does_not_divide() -> None:
    gpus, heads = problems("recipe=gpt3-530b", "parallel.tp=7")

    assert gpus.message == "2240 GPUs is not a multiple of 7 × 35 = 245"
    assert gpus.where.startswith(f"{SHIPPED}/gpt3-530b.yaml:")
    assert heads.message == (
        "`parallel.tp` = 7 does not divide model.heads = 128, model.ffn = 81920, "
        "model.kv_heads = 128, tokens of a rank = 2048"
    )
    assert heads.where == "command line: parallel.tp=7"
    assert overrides(heads)[0] == "parallel.tp=8"


@pytest.mark.parametrize(
    ("argument", "message", "repair"),
    [
        (
            "parallel.tp=eight",
            "`parallel.tp` must be a whole number, not 'eight'",
            "parallel.tp=8",
        ),
        ("parallel.pp=0", "`parallel.pp` must be at least 1, not 0", "parallel.pp=35"),
        ("gpus=-8", "`gpus` must be at least 1, not -8", "gpus=2240"),
    ],
)
def test_a_value_that_is_none(argument: str, message: str, repair: str) -> None:
    """The recipe's own value is offered."""
    problem = only("recipe=gpt3-530b", argument)

    assert (message, f"command line: {argument}") == (problem.message, problem.where)
    assert overrides(problem) == [repair]
    assert problem.repairs[0].why == "the recipe's own value"


@pytest.mark.parametrize(
    ("words", "repairs"),
    [
        (("recipe=deepseek-v3", "parallel.pp=8"), ["parallel.pp=16"]),
        (
            ("recipe=gpt-tiny", "parallel.layers_per_stage=[1,1]"),
            ["parallel.layers_per_stage=null"],
        ),
        (("recipe=llama3-8b", "optim.zero=0"), ["optim.zero=1"]),
        (
            ("recipe=llama2-7b", "recompute={kind: selective, modules: []}"),
            ["recompute.modules=[core_attn]", "recompute.kind=none", "recompute.kind=full"],
        ),
        (("recipe=llama2-7b", "optim.quantized_weights=true"), ["optim.quantized_weights=false"]),
    ],
)
def test_a_concern_that_contradicts_itself_is_mended(
    words: tuple[str, ...], repairs: list[str]
) -> None:
    """By what it proposes, and by the recipe's own values of what was changed; all are launched."""
    with pytest.raises(RecipeError) as caught:
        compose(words, (), LAUNCH)
    (problem,) = caught.value.problems

    assert overrides(problem) == repairs
    for repair in problem.repairs:
        assert LAUNCH.accepts(compose([*words, *repair.overrides]))


def test_2000_gpus() -> None:
    problem = only("recipe=gpt3-530b", "gpus=2000")

    assert problem.message == "2000 GPUs is not a multiple of 8 × 35 = 280"
    assert problem.where == "command line: gpus=2000"
    assert [str(repair) for repair in problem.repairs] == [
        "`gpus=2240` (dp 8)",
        "`gpus=1120` (dp 4)",
        "`gpus=1960 batch.global=1960` (dp 7, 280 micro-batches)",
    ]


@pytest.mark.parametrize(
    ("argument", "message", "meant", "kind"),
    [
        ("model=gpt5", "`model` = 'gpt5' does not exist", "model=gpt3-5b", "models: bloom-176b,"),
        (
            "cluster=dgx-h1000",
            "`cluster` = 'dgx-h1000' does not exist",
            "cluster=dgx-h100",
            "clusters: aws-p4d,",
        ),
    ],
)
def test_a_choice_that_does_not_exist(argument: str, message: str, meant: str, kind: str) -> None:
    problem = only("recipe=gpt3-530b", argument)

    assert (message, f"command line: {argument}") == (problem.message, problem.where)
    assert problem.hint.startswith(f"Did you mean `{meant}`")
    assert kind in problem.hint


def test_a_cluster_with_a_slip_is_repaired() -> None:
    assert overrides(only("recipe=gpt3-530b", "cluster=dgx-h1000"))[0] == "cluster=dgx-h100"


def test_a_batch_that_does_not_divide() -> None:
    """Offered are multiples of 8 × 35, which interleaving needs."""
    problem = only("recipe=gpt3-530b", "batch.global=1921")

    assert problem.message == "global batch 1921 is not a multiple of micro × dp = 1 × 8 = 8"
    assert overrides(problem)[:2] == ["batch.global=1960", "batch.global=1680"]


def test_a_word_alone() -> None:
    with pytest.raises(UsageError) as caught:
        compose(["recipe=gpt3-530b", "nonsense"])
    (problem,) = caught.value.problems

    assert caught.value.status == 2
    assert problem.message == "`nonsense` is not `key=value`"
    assert problem.hint == "a key is set with `nonsense=VALUE`"


def test_a_recipe_that_does_not_exist() -> None:
    with pytest.raises(RecipeError) as caught:
        compose(["recipe=gpt3-503b"])
    (problem,) = caught.value.problems

    assert caught.value.status == 3
    assert problem.message == "`recipe` = 'gpt3-503b' does not exist"
    assert problem.hint.startswith("Did you mean `recipe=gpt3-530b`")


def test_every_mistake_at_once() -> None:
    """Groups, unknown keys, wrong types and checks, each with its own argument."""
    arguments = ["model=gpt5", "cluster=dgx", "gpus=x", "parallel.tpp=3", "batch.micro=0", "env=1"]
    found = problems("recipe=gpt3-530b", *arguments)

    assert {f"command line: {argument}" for argument in arguments} == {p.where for p in found}
    assert len(found) == len(arguments)


@pytest.mark.parametrize(
    ("arguments", "codes"),
    [
        (("parallel.tpp=8", "gpus=2000"), ["unknown_key", "gpus_not_multiple"]),
        (("optim.zero=9", "gpus=2000"), ["out_of_range", "gpus_not_multiple"]),
        # With 25 stages, 2000 GPUs are right; what `gpus=x` and `model=gpt5` mean nobody knows.
        (
            ("parallel.ppp=25", "gpus=2000", "parallel.vpp=1"),
            ["unknown_key", "layers_not_divisible"],
        ),
        (("gpus=x", "parallel.tp=7"), ["wrong_type", "tp_not_divisor"]),
        (("model=gpt5", "gpus=2000"), ["unknown_model"]),
    ],
)
def test_no_mistake_hides_a_broken_rule(arguments: tuple[str, ...], codes: list[str]) -> None:
    """Where it is broken whatever was meant; nothing is said about what cannot be known."""
    assert [problem.code for problem in problems("recipe=gpt3-530b", *arguments)] == codes


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        (("parallel.tpp=8", "optim.zeroo=0"), "parallel.tp=8 optim.zero=0"),
        (("parallel.tpp=8", "gpus=2000"), "parallel.tp=8 gpus=2240"),
        (("optim.zero=9", "gpus=2000"), "optim.zero=0 gpus=2240"),
        (("precision=fb16", "gpus=2000"), "precision=fp16 gpus=2240"),
        (("parallel.tpp=7",), "parallel.tp=8"),
        # Stages that the layers do not divide into, and GPUs that fit neither these nor others.
        (("parallel.pp=30", "gpus=2000"), "parallel.pp=35 gpus=2240"),
        (("parallel.zzzzz=7", "gpus=2000"), None),
    ],
)
def test_what_mends_several_mistakes_stands_with_the_first(
    arguments: tuple[str, ...], offered: str | None
) -> None:
    """In place of what was typed it gives a recipe; where one is beyond guessing nothing does."""
    first, *others = problems("recipe=gpt3-530b", *arguments)
    offers = [" ".join(repair.overrides) for repair in first.repairs]

    assert not any(problem.repairs for problem in others)
    assert offers[:1] == ([] if offered is None else [offered])
    assert all(compose(["recipe=gpt3-530b", *offer.split()]) for offer in offers)


def test_a_rule_is_broken_where_the_value_was_typed() -> None:
    """Not where the key that was meant has another value."""
    found = problems("recipe=gpt3-530b", "parallel.tpp=7")

    assert [each.where for each in found if "parallel.tp`" in each.message][-1:] == [
        "command line: parallel.tpp=7"
    ]


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("~nothing", "`nothing` is not set: there is nothing to take away"),
        ("~batch.ramp", "`batch.ramp` is not set: there is nothing to take away"),
        (
            "parallel/tp=8",
            "`parallel/tp` is no group of the recipe; parts of a key are joined by dots",
        ),
        ("+optim=adam", "`optim` is chosen already; leave out the `+`"),
    ],
)
def test_what_hydra_refuses(argument: str, message: str) -> None:
    """In our words, with where it was set."""
    problem = only("recipe=gpt3-530b", argument)

    assert (problem.message, problem.where) == (message, f"command line: {argument}")


def test_a_plus_before_a_key_that_is_there() -> None:
    """It is changed: our own checks answer, as they do to a key without one."""
    assert compose(["recipe=gpt3-530b", "+parallel.vpp=1"]).parallel.vpp == 1
    assert only("recipe=gpt3-530b", "+parallel.tpp=8").code == "unknown_key"


def test_a_recipe_without_its_key() -> None:
    """A name alone, as people type it, is answered with how it is said."""
    with pytest.raises(UsageError) as caught:
        compose(["gpt3-530b"])

    assert caught.value.problems[0].hint == "a recipe is chosen with `recipe=gpt3-530b`"


@pytest.mark.parametrize(
    ("argument", "meant"),
    [
        ("seq=4096", "model.seq"),
        ("steps=9", "run.steps"),
        ("parallel.TP=8", "parallel.tp"),
        ("TP=8", "parallel.tp"),
    ],
)
def test_a_key_that_is_written_otherwise(argument: str, meant: str) -> None:
    """Without its group, or in capitals: a name that is the same goes before one that is near."""
    found = problems("recipe=gpt3-530b", argument)

    assert found[0].hint.startswith(f"Did you mean `{meant}`? ")


@pytest.mark.parametrize("name", ["..", ".hidden", "-n", "a/b", "", "x" * 101])
def test_a_name_that_is_no_folder_of_runs(name: str) -> None:
    """Hidden, an option to every verb, or longer than a file system takes."""
    assert only("recipe=gpt-tiny", f"run.name='{name}'").code == "invalid_name"


def test_layers_counted_for_the_ends() -> None:
    """Where they break the division, not counting them is offered."""
    problem = only("recipe=gpt3-530b", "parallel.account_for_embedding=true")

    assert "parallel.account_for_embedding=false" in overrides(problem)


def test_a_count_is_offered_as_one() -> None:
    """`tokens: 270e9` is a float to YAML, and a whole number to its reader."""
    assert overrides(only("recipe=gpt3-530b", "tokens=270B")) == ["tokens=270000000000"]


def test_rules_are_checked_when_all_else_is_right() -> None:
    """Three broken rules, three answers."""
    found = problems("recipe=gpt3-530b", "gpus=2000", "optim.zero=3", "precision=fp8")

    assert {problem.code for problem in found} == {
        "gpus_not_multiple",
        "zero_with_pipeline",
        "precision_unsupported",
    }


@pytest.mark.parametrize(
    "text", ["- a", "", "defaults: [nowhere]", "defaults: [base, model: none]", "a: \x00"]
)
def test_a_broken_file_is_not_traced_back(write: Write, text: str) -> None:
    write("here/r.yaml", text)

    assert problems("recipe=./r.yaml")


def test_recipes_that_name_each_other(write: Write) -> None:
    """Hydra would follow them until Python ends it."""
    write("here/a.yaml", "defaults: [b]")
    write("here/b.yaml", "defaults: [a]")

    assert only("recipe=./a.yaml").message == (
        "the `defaults` of its files name each other without end"
    )


def test_a_repair_is_judged_by_who_asks() -> None:
    """A planner is stricter than the rules: no offer it would refuse."""
    with pytest.raises(RecipeError) as caught:
        compose(
            ["recipe=gpt3-530b", "gpus=2000"],
            judge=Judge(accepts=lambda recipe: not violations(recipe) and recipe.gpus < 2000),
        )

    assert overrides(caught.value.problems[0])[0] == "gpus=1120"


def test_a_choice_of_a_group_in_a_resolved_recipe(tmp_path: Path) -> None:
    """It holds values alone: each choice is answered, with what would work."""
    file = tmp_path / "recipe.yaml"
    file.write_text(dump_recipe(compose(["recipe=llama2-7b"])))

    found = problems(f"recipe={file}", "precision=fp16", "cluster=dgx-a100-80g", "gpus=64")

    precision, cluster = found
    assert precision.message == (
        "`precision` = fp16 chooses a group, and the recipe holds none: it is resolved"
    )
    assert precision.where == "command line: precision=fp16"
    assert precision.hint == "say `precision.kind=fp16`"
    assert compose([f"recipe={file}", "precision.kind=fp16"]).precision.kind == "fp16"
    assert "`recipe=llama2-7b cluster=dgx-a100-80g`" in cluster.hint
    (adam,) = problems(f"recipe={file}", "optim=adam")
    keys = adam.hint.removeprefix("say `").removesuffix("`").split()
    assert compose([f"recipe={file}", *keys]).optim.zero == 0
