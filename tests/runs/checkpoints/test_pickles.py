"""Pickles are read without running what they name."""

import os
import pickle
import zipfile
from argparse import Namespace
from collections import OrderedDict
from pathlib import Path
from typing import Any

import pytest

from llmtrain.runs.checkpoints.pickles import Damage, Named, read_pickle, read_torch


class Evil:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.path}",)


def test_nothing_is_run(tmp_path: Path) -> None:
    """A call of ``os.system`` is an inert object that knows its arguments."""
    made = tmp_path / "made"
    (tmp_path / "evil").write_bytes(pickle.dumps({"first": Evil(made), "second": 2}))

    found = read_pickle(tmp_path / "evil")

    assert not made.exists()
    assert found["second"] == 2
    assert isinstance(found["first"], Named)
    assert found["first"].named.endswith(".system")
    assert found["first"].arguments == (f"touch {made}",)


def test_containers_are_themselves(tmp_path: Path) -> None:
    """Plain ones; an object of a class has its fields."""
    value = OrderedDict(a={1, 2}, b=frozenset({3}), c=Namespace(tp=4))
    (tmp_path / "plain").write_bytes(pickle.dumps(value))

    found = read_pickle(tmp_path / "plain")

    assert (found["a"], found["b"]) == ({1, 2}, {3})
    assert (found["c"].get("tp"), found["c"].get("pp")) == (4, None)


@pytest.mark.parametrize("end", range(0, 60, 7))
def test_a_cut_pickle_is_damage(tmp_path: Path, end: int) -> None:
    """Wherever it was cut."""
    content = pickle.dumps({"number": list(range(20)), "text": "abc"})
    (tmp_path / "cut").write_bytes(content[: min(end, len(content) - 1)])

    with pytest.raises(Damage, match="cut cannot be read: it is cut or changed"):
        read_pickle(tmp_path / "cut")


def test_what_is_no_torch_file(tmp_path: Path) -> None:
    """Not there, no zip file, a zip file of something else."""
    with zipfile.ZipFile(tmp_path / "other.pt", "w") as archive:
        archive.writestr("hello", "world")
    (tmp_path / "text.pt").write_text("hello")

    with pytest.raises(Damage, match=r"none\.pt is missing"):
        read_torch(tmp_path / "none.pt")
    with pytest.raises(Damage, match=r"text\.pt cannot be read: .*no whole zip file"):
        read_torch(tmp_path / "text.pt")
    with pytest.raises(Damage, match=r"other\.pt is a zip file without data\.pkl"):
        read_torch(tmp_path / "other.pt")
