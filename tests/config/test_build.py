"""Plain data to dataclasses: every mistake at once, and the way back."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from llmtrain.config.build import build, keys, plain
from llmtrain.config.checks import at_least, require
from llmtrain.config.errors import RecipeError


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A group that checks itself."""

    count: int
    maybe: float | None = None

    def __post_init__(self) -> None:
        require(at_least("count", self.count, 1))


@dataclass(frozen=True, kw_only=True)
class Outer:
    """One field of every kind."""

    whole: int = 0
    number: float = 0.0
    flag: bool = False
    text: str = ""
    perhaps: int | None = None
    choice: Literal["red", "green"] = "red"
    many: tuple[int, ...] = ()
    three: tuple[float, float, float] = (0.0, 0.0, 0.0)
    named: Mapping[str, int] = field(default_factory=dict)
    inner: Inner = field(default_factory=lambda: Inner(count=1))
    optional: Inner | None = None
    global_: int = 0


def mistakes(cls: type, data: Any) -> list[tuple[str, str]]:
    """Code and key of every mistake that ``build`` finds."""
    with pytest.raises(RecipeError) as caught:
        build(cls, data)
    return [(problem.code, problem.key) for problem in caught.value.problems]


def message(data: Any) -> tuple[str, str]:
    """Sentence and hint of the only mistake."""
    with pytest.raises(RecipeError) as caught:
        build(Outer, data)
    (problem,) = caught.value.problems
    return problem.message, problem.hint


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({"whole": 270e9}, Outer(whole=270_000_000_000)),
        ({"whole": 1e3}, Outer(whole=1000)),
        ({"whole": 10**400}, Outer(whole=10**400)),
        ({"number": 3}, Outer(number=3.0)),
        ({"text": 22}, Outer(text="22")),
        ({"perhaps": None}, Outer()),
        ({"perhaps": 4.0}, Outer(perhaps=4)),
        ({"choice": "green"}, Outer(choice="green")),
        ({"many": [1, 2.0]}, Outer(many=(1, 2))),
        ({"three": [1, 0, 0.5]}, Outer(three=(1.0, 0.0, 0.5))),
        ({"named": {"a": 1e2}}, Outer(named={"a": 100})),
        ({"inner": {"count": 2}}, Outer(inner=Inner(count=2))),
        ({"optional": {"count": 2, "maybe": 1}}, Outer(optional=Inner(count=2, maybe=1.0))),
        ({"optional": None}, Outer()),
        ({"global": 5}, Outer(global_=5)),
    ],
)
def test_values_become_what_they_are_meant_as(data: dict[str, Any], expected: Outer) -> None:
    found = build(Outer, data)

    assert expected == found
    assert repr(expected) == repr(found)  # 3 == 3.0, but a whole number is asked for


@pytest.mark.parametrize(
    ("data", "says"),
    [
        ({"whole": "eight"}, "`whole` must be a whole number, not 'eight'"),
        ({"whole": 1.5}, "`whole` must be a whole number, not 1.5"),
        ({"whole": -0.5}, "`whole` must be a whole number, not -0.5"),
        ({"number": 10**400}, f"`number` must be a number, not 1{'0' * 400}"),
        ({"whole": True}, "`whole` must be a whole number, not True"),
        ({"whole": None}, "`whole` must be a whole number, not null"),
        ({"whole": float("nan")}, "`whole` must be a whole number, not nan"),
        ({"whole": float("inf")}, "`whole` must be a whole number, not inf"),
        ({"number": "much"}, "`number` must be a number, not 'much'"),
        ({"number": float("inf")}, "`number` must be a number, not inf"),
        ({"number": float("nan")}, "`number` must be a number, not nan"),
        ({"number": False}, "`number` must be a number, not False"),
        ({"flag": 1}, "`flag` must be true or false, not 1"),
        ({"flag": "yes"}, "`flag` must be true or false, not 'yes'"),
        ({"text": None}, "`text` must be text, not null"),
        ({"text": [1]}, "`text` must be text, not [1]"),
        ({"perhaps": "x"}, "`perhaps` must be a whole number, not 'x'"),
        ({"many": 3}, "`many` must be a list, not 3"),
        ({"many": "12"}, "`many` must be a list, not '12'"),
        ({"many": [1, "b"]}, "`many` must be a whole number, not 'b'"),
        ({"three": [1, 2]}, "`three` must be a list of 3, not [1, 2]"),
        ({"named": []}, "`named` must be a group of names and values, not []"),
        ({"named": {"a": "b"}}, "`named.a` must be a whole number, not 'b'"),
        ({"inner": 3}, "`inner` must be a group of keys: count, maybe, not 3"),
        ({"inner": {"count": 0}}, "`inner.count` must be at least 1, not 0"),
        ({"inner": {"count": -1234567}}, "`inner.count` must be at least 1, not -1234567"),
        ({"inner": {}}, "`inner.count` is needed"),
        ({"optional": {"count": "x"}}, "`optional.count` must be a whole number, not 'x'"),
    ],
)
def test_a_wrong_type_is_said(data: dict[str, Any], says: str) -> None:
    assert (says, "") == message(data)


def test_what_is_no_group_at_all_is_said() -> None:
    assert mistakes(Inner, [1]) == [("wrong_type", "")]
    with pytest.raises(RecipeError, match="a recipe must be a group of keys: count"):
        build(Inner, [1])
    assert mistakes(Inner, None) == [("wrong_type", "")]


@pytest.mark.parametrize(
    ("data", "says", "hint"),
    [
        (
            {"choice": "gren"},
            "`choice` cannot be 'gren'",
            "Did you mean `green`? valid: red, green",
        ),
        ({"choice": 7}, "`choice` cannot be 7", "valid: red, green"),
        ({"choice": []}, "`choice` cannot be []", "valid: red, green"),
        (
            {"inner": {"count": 1, "mabye": 2}},
            "`inner.mabye` is not a recipe key",
            "Did you mean `inner.maybe`? in inner: count, maybe",
        ),
        (
            {"inner": {"count": 1, "x": 2}},
            "`inner.x` is not a recipe key",
            "in inner: count, maybe",
        ),
    ],
)
def test_what_was_meant_is_said(data: dict[str, Any], says: str, hint: str) -> None:
    assert (says, hint) == message(data)


@pytest.mark.parametrize(
    ("key", "meant"),
    [("wohle", "whole"), ("count", "inner.count"), ("globl", "global")],
)
def test_an_unknown_key_at_the_top(key: str, meant: str) -> None:
    """A key that was written without its group is found in it."""
    says, hint = message({key: 1})

    assert f"`{key}` is not a recipe key" == says
    assert hint.startswith(f"Did you mean `{meant}`? top level: whole, number, flag")


def test_every_mistake_is_found_at_once() -> None:
    """Unknown keys hide neither wrong types nor the checks of a group, nor these each other."""
    data = {
        "nothing": 1,
        "whole": "x",
        "number": "y",
        "choice": "blue",
        "many": ["a", 2, "b"],
        "inner": {"count": 0, "unknown": 1},
        "optional": {"maybe": "x", "other": 1},
    }
    expected = {
        ("unknown_key", "nothing"),
        ("wrong_type", "whole"),
        ("wrong_type", "number"),
        ("invalid_choice", "choice"),
        ("wrong_type", "many"),
        ("out_of_range", "inner.count"),
        ("unknown_key", "inner.unknown"),
        ("missing", "optional.count"),
        ("wrong_type", "optional.maybe"),
        ("unknown_key", "optional.other"),
    }

    assert expected == set(mistakes(Outer, data))


def test_keys_are_every_dotted_name() -> None:
    expected = (
        *("whole", "number", "flag", "text", "perhaps", "choice", "many", "three"),
        *("named", "inner", "inner.count", "inner.maybe"),
        *("optional", "optional.count", "optional.maybe", "global"),
    )

    assert expected == tuple(keys(Outer))


whole = st.integers(-(2**53), 2**53)
number = st.floats(allow_nan=False, allow_infinity=False)
inners = st.builds(Inner, count=st.integers(1, 9), maybe=st.none() | number)
outers = st.builds(
    Outer,
    whole=whole,
    number=number,
    flag=st.booleans(),
    text=st.text(),
    perhaps=st.none() | whole,
    choice=st.sampled_from(["red", "green"]),
    many=st.lists(whole).map(tuple),
    three=st.tuples(number, number, number),
    named=st.dictionaries(st.text(), whole),
    inner=inners,
    optional=st.none() | inners,
    global_=whole,
)


@given(value=outers)
@settings(deadline=None, derandomize=True, max_examples=60)
def test_plain_data_builds_the_same_value_again(value: Outer) -> None:
    assert value == build(Outer, plain(value))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
named_keys = st.sampled_from(["whole", "number", "choice", "many", "three", "named", "inner", "x"])


@given(data=st.dictionaries(named_keys | st.text(max_size=3), anything) | anything)
@settings(deadline=None, derandomize=True, max_examples=150)
def test_no_data_is_traced_back(data: Any) -> None:
    """Whatever a file holds, the answer is a value or a list of mistakes."""
    try:
        found = build(Outer, data)
    except RecipeError as error:
        assert all(problem.code and problem.message for problem in error.problems)
    else:
        assert isinstance(found, Outer)
