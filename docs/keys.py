"""Writes docs/recipes.md from the dataclasses of config/: ``python docs/keys.py``.

A test compares the file with what this writes.
"""

import ast
import inspect
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from itertools import pairwise
from pathlib import Path
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from llmtrain.config.build import key_of, members_of
from llmtrain.config.recipe import Recipe

HEAD = """# Recipe keys

Written by `python docs/keys.py` from `config/`. A key without a default must be given, by the
recipe or by a file of its group. `precision`, `optim`, `schedule`, `data`, `checkpoint`, `site`,
`model`, `cluster` and `backend` are groups: `precision=bf16` picks `precision/bf16.yaml`, and
`precision.kind=bf16` sets one key. Files are searched in `--recipes DIR`, `LLMTRAIN_RECIPES`,
`~/.config/llmtrain`, `/etc/llmtrain` and the package, in this order.

"""


def document() -> str:
    """The whole page."""
    return HEAD + "\n".join(_sections(Recipe, "", "")) + "\n"


def _sections(cls: type, prefix: str, says: str) -> Iterator[str]:
    documented = _strings(cls)
    plain = [field for field in fields(cls) if _nested(field) is None]
    title = f"`{prefix.rstrip('.')}`" if prefix else "The recipe"
    yield f"## {title}\n"
    if says:
        yield f"{says}\n"
    if plain:
        yield "| key | type | default | meaning |\n|---|---|---|---|"
        for field in plain:
            yield _row(field, prefix, documented.get(field.name, ""))
    yield ""
    for field in fields(cls):
        nested = _nested(field)
        if nested is not None:
            more = documented.get(field.name, "") or _first_line(nested)
            yield from _sections(nested, f"{prefix}{key_of(field.name)}.", more)


def _row(field: "Field[Any]", prefix: str, meaning: str) -> str:
    cells = (f"`{prefix}{key_of(field.name)}`", _type(field.type), _default(field), meaning)
    return f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |"


def _nested(field: "Field[Any]") -> type | None:
    found = [kind for kind in members_of(field.type) if is_dataclass(kind)]
    return found[0] if found and isinstance(found[0], type) else None


def _type(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return ", ".join(str(choice) for choice in get_args(kind))
    if get_origin(kind) in (Union, UnionType):
        return " or ".join(_type(each) for each in get_args(kind))
    if get_origin(kind) is tuple:
        return "list"
    if get_origin(kind) is not None:
        return "names and values"
    names = {int: "whole number", float: "number", bool: "true, false", str: "text"}
    return names.get(kind, "null")


def _default(field: "Field[Any]") -> str:
    if field.default is MISSING:
        return "" if field.default_factory is MISSING else "empty"
    shown = {None: "null", True: "true", False: "false", "": "empty", (): "empty"}
    if isinstance(field.default, (bool, str, tuple)) or field.default is None:
        return str(shown.get(field.default, field.default))
    return f"{field.default:g}"


def _strings(cls: type) -> dict[str, str]:
    """The string under each field, in one line."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    found: dict[str, str] = {}
    statements = body.body if isinstance(body, ast.ClassDef) else []
    for above, below in pairwise(statements):
        if isinstance(above, ast.AnnAssign) and isinstance(above.target, ast.Name):
            text = ast.literal_eval(below.value) if isinstance(below, ast.Expr) else ""
            found[above.target.id] = " ".join(str(text).replace("``", "`").split())
    return found


def _first_line(cls: type) -> str:
    return (inspect.getdoc(cls) or "").splitlines()[0]


if __name__ == "__main__":
    Path(__file__).with_name("recipes.md").write_text(document(), encoding="utf-8")
