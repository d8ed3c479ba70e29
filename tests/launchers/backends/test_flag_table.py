"""The tables of flags are complete, sourced and read right."""

from importlib.resources import files

import pytest

from llmtrain.launchers.backends.flag_table import Flag, in_place_of, read_flags, replaced
from llmtrain.planner.limits import VERSIONS

TABLES = [(program, version) for program, known in VERSIONS.items() for version in known]


@pytest.mark.parametrize(("program", "version"), TABLES)
def test_each_known_version_has_a_table_with_its_commit(program: str, version: str) -> None:
    """The first line says which commit's parser was read."""
    path = files("llmtrain.launchers.backends") / "flags" / f"{program}-{version}.csv"
    first = path.read_text(encoding="utf-8").splitlines()[0]

    assert f" {version} " in first
    assert len(first.split("commit ")[1].split(";")[0]) == 40
    assert len(read_flags(program, version).flags) > 300


def test_a_flag_is_read_with_its_choices_and_default() -> None:
    """Choices keep their order; a default has its own type."""
    flag = read_flags("megatron-lm", "core_v0.16.1").flags["--recompute-granularity"]

    assert flag == Flag(
        name="--recompute-granularity",
        dest="recompute_granularity",
        kind="value",
        type="str",
        nargs="",
        choices=("full", "selective"),
        default=None,
    )


def test_what_takes_the_place_of_a_flag_exists() -> None:
    """In the newest version; a flag that is still parsed is asserted away, or read no more."""
    newest = read_flags("megatron-lm", VERSIONS["megatron-lm"][0])
    still = {"--rampup-batch-size", "--enable-cuda-graph", "--external-cuda-graph"}
    still |= {"--batch-size", "--model-parallel-size", "--checkpoint-activations"}

    for each in replaced().values():
        assert not each.instead or each.instead in newest
        assert each.flag not in newest or each.flag in still


def test_the_way_back_and_forth() -> None:
    """An old name tells the new one, a new one what an older version has; others tell nothing."""
    newest, oldest = (read_flags("megatron-lm", VERSIONS["megatron-lm"][i]) for i in (0, -1))

    assert in_place_of("--use-custom-fsdp", newest) == "use `--use-megatron-fsdp`"
    assert in_place_of("--checkpoint-activations", newest) == (
        "use `--recompute-granularity` with `full`"
    )
    assert in_place_of("--DDP-impl", newest).startswith("leave it out: ")
    assert in_place_of("--cuda-graph-impl", oldest) == "this version has `--enable-cuda-graph`"
    assert in_place_of("--recompute-modules", oldest) == ""
