"""Composition: search path, where a key was set, and an answer to every mistake."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

import llmtrain.recipes
from llmtrain.config.build import keys
from llmtrain.config.compose import compose
from llmtrain.config.errors import LlmtrainError, Problem, RecipeError, UsageError
from llmtrain.config.recipe import Recipe
from llmtrain.config.repairs import Judge
from llmtrain.config.rules import violations

SHIPPED = Path(llmtrain.recipes.__path__[0]).resolve()

Write = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """No recipes of the user's who runs the tests, and a current folder of their own."""
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("LLMTRAIN_RECIPES", raising=False)
    return tmp_path


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file below the test's folder."""

    def file(name: str, text: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    return file


MINE = """
defaults: [base, model: gpt-tiny, cluster: local-cpu, backend: megatron-core, _self_]
gpus: 2
batch: {global: 8}
description: DESCRIPTION
"""


def mine(description: str = "mine") -> str:
    """A recipe of the user's own."""
    return MINE.replace("DESCRIPTION", description)


def problems(*arguments: str) -> list[Problem]:
    """What composing these arguments is answered with."""
    with pytest.raises(LlmtrainError) as caught:
        compose(arguments)
    return list(caught.value.problems)


def only(*arguments: str) -> Problem:
    """The one mistake in these arguments."""
    (problem,) = problems(*arguments)
    return problem


def overrides(problem: Problem) -> list[str]:
    """Its repairs as they are typed."""
    return [" ".join(repair.overrides) for repair in problem.repairs]


# The ten mistakes of the command line's promise.


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
    assert problem.hint == "a recipe is chosen with `recipe=nonsense`"


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


def test_rules_are_checked_when_all_else_is_right() -> None:
    """Three broken rules, three answers."""
    found = problems("recipe=gpt3-530b", "gpus=2000", "optim.zero=3", "precision=fp8")

    assert {problem.code for problem in found} == {
        "gpus_not_multiple",
        "zero_with_pipeline",
        "precision_unsupported",
    }


# The search path.


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


# What a recipe may not do.


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


# What may be typed.


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
        *("~nothing", "+gpus=2", "model@foo=gpt3-5b", "++cluster=local-gpu", "model/x=y"),
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


@pytest.mark.parametrize(
    "text", ["- a", "", "defaults: [nowhere]", "defaults: [base, model: none]", "a: \x00"]
)
def test_a_broken_file_is_not_traced_back(write: Write, text: str) -> None:
    write("here/r.yaml", text)

    assert problems("recipe=./r.yaml")


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


def test_a_repair_is_judged_by_who_asks() -> None:
    """A planner is stricter than the rules: no offer it would refuse."""
    with pytest.raises(RecipeError) as caught:
        compose(
            ["recipe=gpt3-530b", "gpus=2000"],
            judge=Judge(accepts=lambda recipe: not violations(recipe) and recipe.gpus < 2000),
        )

    assert overrides(caught.value.problems[0])[0] == "gpus=1120"


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


def test_all_shipped_files_are_yaml_mappings() -> None:
    files = sorted(SHIPPED.rglob("*.yaml"))

    assert files
    assert all(isinstance(yaml.safe_load(file.read_text()), dict) for file in files)


def test_a_defaults_list_cannot_read_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hydra resolves a defaults list by itself, yet the secret in it is neither used nor shown."""
    monkeypatch.setenv("SECRET", "hunter2")
    (tmp_path / "spy.yaml").write_text("defaults: [base, model: '${oc.env:SECRET}']\n")

    with pytest.raises(RecipeError) as caught:
        compose([f"recipe={tmp_path / 'spy.yaml'}"])

    assert "hunter2" not in str([problem.as_json() for problem in caught.value.problems])
