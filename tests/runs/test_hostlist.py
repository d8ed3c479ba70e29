"""Slurm's lists of nodes are read as Slurm reads them."""

import pytest

from llmtrain.runs.hostlist import expand


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("n1", "n1"),
        ("n[1-3]", "n1 n2 n3"),
        ("gpu[09-11,3]", "gpu09 gpu10 gpu11 gpu3"),
        ("n1[1-2][3-4]", "n113 n114 n123 n124"),
        ("n[01-2],n[1-02]", "n01 n02 n1 n2"),
        ("n1,,n2, n3", "n1 n2 n3"),
        ("[1-2]", "1 2"),
    ],
)
def test_what_scontrol_show_hostnames_prints(text: str, names: str) -> None:
    """Recorded from Slurm 22.05."""
    assert expand(text) == tuple(names.split())


@pytest.mark.parametrize(
    "text",
    ["", ",", "gpu 07", "n[5-3]", "n[]", "n[1-", "n]1", "n;1", "n[1-9999999]", "n[1-999][1-999]"],
)
def test_what_names_no_node(text: str) -> None:
    """Is said, also what Slurm would make a name of or expand for ever."""
    with pytest.raises(ValueError, match=r"no name|no node|no range|more than|at most"):
        expand(text)
