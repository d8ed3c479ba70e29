"""Recipes of a user's own, and what composing is answered with."""

from collections.abc import Callable
from pathlib import Path

import pytest

import llmtrain.recipes
from llmtrain.config.compose import compose
from llmtrain.config.errors import LlmtrainError, Problem

SHIPPED = Path(llmtrain.recipes.__path__[0]).resolve()

Write = Callable[[str, str], Path]

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
