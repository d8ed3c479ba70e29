"""The table of variables: complete, sourced, and true to the clusters' data."""

import re
from pathlib import Path

import pytest
import yaml

import llmtrain.recipes
from llmtrain.launchers.fabric.known import Known, known, near, slip
from llmtrain.launchers.fabric.lint import _caution_data
from llmtrain.launchers.fabric.values import may_be, number

RECIPES = Path(llmtrain.recipes.__path__[0])


def test_every_variable_has_a_source() -> None:
    """And none is only a name where it is marked as wrong."""
    assert [each.name for each in known().values() if not each.source] == []
    assert len(known()) > 500
    assert {each.of for each in known().values()} >= {
        "NCCL",
        "torch",
        "UCX",
        "SHARP",
        "EFA",
        "AWS OFI NCCL",
        "Google FasTrak",
        "Google GPUDirect-TCPX",
        "NCCL SHARP plugin",
        "Transformer Engine",
    }


def test_replacements_are_variables_themselves() -> None:
    """What takes a name's place is current."""
    for each in known().values():
        for name in re.findall(r"\b[A-Z]+_[A-Z_]+\b", each.instead.partition("=")[0]):
            assert known()[name].status == "", (each.name, name)


def cluster_settings() -> list[tuple[str, str, str]]:
    """Every variable of every cluster that ships, with file and value."""
    found = []
    for group in ("cluster", "fabric"):
        for file in sorted((RECIPES / group).glob("*.yaml")):
            data = yaml.safe_load(file.read_text())
            env = data if group == "fabric" else data.get("env", {})
            found += [(file.stem, name, str(fact["value"])) for name, fact in env.items()]
    return found


def test_the_clusters_set_known_variables_to_valid_values() -> None:
    """No cluster that ships has a misspelt name or a value out of range."""
    ordinary = {"LD_LIBRARY_PATH", "MASTER_ADDR"}
    for file, name, value in cluster_settings():
        fact: Known | None = known().get(name)
        assert fact is not None or name in ordinary, (file, name)
        if fact is not None and not re.search(r"[<$(]", value):
            assert may_be(value, fact.values), (file, name, value)
            assert fact.status != "wrong", (file, name)


def test_cautions_are_about_known_variables() -> None:
    """Each with a reason and a source."""
    for name, entries in _caution_data().items():
        assert name in known()
        assert all(each["why"] and each["source"] for each in entries)


@pytest.mark.parametrize(
    ("allowed", "good", "bad"),
    [
        ("1..31", ("1", "22", "31", "0x16"), ("0", "32", "100", "-1", "x", "22s")),
        ("0..", ("0", "9999999"), ("-1",)),
        ("0|1", ("0", "1"), ("2", "true")),
        ("-1|0..7", ("-1", "7"), ("-2", "8")),
        ("WARN|INFO", ("WARN", "info"), ("WARNING", "1")),
        ("bool", ("1", "true", "False", "no"), ("2", "on!")),
        ("int", ("-5", "0", "0x10"), ("4M", "")[:1]),
        ("list:INIT|NET", ("INIT", "^INIT,net"), ("INIT,NETS",)),
        ("", ("anything", ""), ()),
    ],
)
def test_values(allowed: str, good: tuple[str, ...], bad: tuple[str, ...]) -> None:
    """Ranges, words, flags and lists."""
    assert [value for value in good if not may_be(value, allowed)] == []
    assert [value for value in bad if may_be(value, allowed)] == []


def test_numbers_as_c_reads_them() -> None:
    """Decimal and hexadecimal."""
    assert [number(text) for text in ("12", "0x10", "-3", "4M", "")] == [12, 16, -3, None, None]


def test_a_name_that_is_near() -> None:
    """Offered, the nearest first."""
    assert near("NCCL_IB_TIMEOUTS")[0] == "NCCL_IB_TIMEOUT"
    assert near("HOME") == ()


def test_slips_of_one_letter() -> None:
    """A letter too few, too many or swapped; another letter may be another variable."""
    assert slip("CUDA_DEVICE_MAX_CONNECTION") == "CUDA_DEVICE_MAX_CONNECTIONS"
    assert slip("NCCL_IB_TIEMOUT") == "NCCL_IB_TIMEOUT"
    assert slip("UCX_UD_TIMEOUT") == ""
    assert slip("UCX_NET_DEVICES2") == ""
    assert slip("PATH") == ""
