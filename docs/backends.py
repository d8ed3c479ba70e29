"""Writes docs/backends.md, every shipped recipe on every backend: ``python docs/backends.py``.

A test compares the file with what this writes.
"""

from collections.abc import Iterator
from pathlib import Path

from llmtrain.config.compose import compose
from llmtrain.config.search import search_path
from llmtrain.launchers.equivalence import Equivalent, equivalents

HEAD = """# Recipes and backends

Written by `make golden`; `llmtrain plan recipe=NAME --backends` says the same of any recipe, with
memory, step time and what each program counts otherwise.

- **same**: the program does all that the recipe says.
- **approximated**: with `backend.approximate=true`; without it the plan is refused (exit status 4).
- an override: the program does the same experiment once the recipe is mapped so.
- a key: what the recipe asks for there cannot be done; the reasons are below.

The column of the recipe's own backend is marked with `*`. `megatron-deepspeed` has no made-up data:
it needs `data=indexed` and `data.paths`. Recipes have no key for prefix-LM attention, DualPipe or
Megatron-FSDP: `import` lists their flags as not placed.

The arguments of every `same` of the two Megatrons, 63 pairs of recipe and version, were given to
the programs' own `parse_args` and `validate_args` at full world size, with the environment that is
rendered (November 2026; Megatron-LM's also to `TransformerConfig`): all were accepted. CUDA's
properties and Transformer Engine were stood in for. In CI, parsers built from the tables of flags
take their place.

"""


def document() -> str:
    """The whole page."""
    rows = {name: equivalents(compose([f"recipe={name}"])) for name in search_path().recipes()}
    return HEAD + "\n".join((*_table(rows), "", "## Reasons", "", *_reasons(rows))) + "\n"


def _table(rows: dict[str, tuple[Equivalent, ...]]) -> Iterator[str]:
    columns = sorted({(each.backend, each.version or "") for row in rows.values() for each in row})
    yield "| recipe | " + " | ".join(" ".join(column).strip() for column in columns) + " |"
    yield "|---" * (len(columns) + 1) + "|"
    for name, row in rows.items():
        cells = {(each.backend, each.version or ""): _cell(each) for each in row}
        yield f"| {name} | " + " | ".join(cells[column] for column in columns) + " |"


def _cell(each: Equivalent) -> str:
    own = " \\*" if each.own else ""
    if each.verdict != "impossible":
        return each.verdict + own
    if each.mended:
        return f"`{' '.join(each.mended)}`{own}"
    return ", ".join(dict.fromkeys(_key(reason.key, reason.says) for reason in each.reasons)) + own


def _key(key: str, says: str) -> str:
    """The recipe's key, or the flag that an older version lacks."""
    return key or says.split("`")[1]


def _reasons(rows: dict[str, tuple[Equivalent, ...]]) -> Iterator[str]:
    found = {
        f"- {each.backend}: `{reason.key}` {reason.says.partition(': ')[2]}"
        for row in rows.values()
        for each in row
        for reason in each.reasons
        if reason.key
    }
    yield from sorted(found)


if __name__ == "__main__":
    Path(__file__).with_name("backends.md").write_text(document(), encoding="utf-8")
