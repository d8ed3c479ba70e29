"""The training program that a script starts, and the launcher in front of it."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from llmtrain.launchers.scripts.expand import is_open
from llmtrain.launchers.scripts.script import Command, Script

_TRAINS = re.compile(r"(pretrain|finetune|train)\w*\.py$")
_DEEPSPEED = ("--deepspeed", "--deepspeed_config", "--zero-stage")


@dataclass(frozen=True, kw_only=True, slots=True)
class Program:
    """A command line of a trainer."""

    name: str
    """megatron-lm, megatron-deepspeed, deepspeed, or empty: none of those."""
    script: str
    """The Python file, or empty where only arguments are given."""
    arguments: tuple[str, ...]
    """What follows it."""
    launcher: tuple[str, ...]
    """What stands before it."""
    line: int
    """Where the command begins."""


def find_program(script: Script) -> Program | None:
    """The last command that trains; of those that echo it none."""
    found = [program for command in script.commands for program in _programs(command)]
    return found[-1] if found else None


def _programs(command: Command) -> Iterator[Program]:
    words = command.words
    if not words or words[0] in ("echo", "printf", "cat", "ls", "cp", "sbatch"):
        return
    if words[0].startswith("--"):
        # Arguments alone, as people paste them.
        yield _program("", words, (), command.line)
        return
    for place, word in enumerate(words):
        if re.search(r"\s", word) and not is_open(word):
            continue
        following = words[place + 1 :]
        if _TRAINS.search(word) and any(each.startswith("--") for each in following):
            yield _program(word, following, words[:place], command.line)
            return


def _program(script: str, arguments: Sequence[str], launcher: Sequence[str], line: int) -> Program:
    name = "megatron-lm"
    megatron = any(
        word in ("--num-layers", "--hidden-size", "--use-checkpoint-args") for word in arguments
    )
    if any(word.partition("=")[0] in _DEEPSPEED for word in arguments):
        name = "megatron-deepspeed" if megatron else "deepspeed"
    elif not megatron:
        name = ""
    return Program(
        name=name,
        script=script,
        arguments=tuple(arguments),
        launcher=tuple(launcher),
        line=line,
    )
