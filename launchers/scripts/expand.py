"""What a shell would make of a word. What only the run knows stays written as it is.

An expansion that cannot be known keeps its text behind the sign ``OPEN`` in place of ``$``.
"""

import ast
import operator
import re
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase

from llmtrain.launchers.scripts.tokens import OPEN

Values = Mapping[str, str | list[str]]
"""Variables of a script; a list is an array."""

_NAME = re.compile(r"[A-Za-z_]\w*|[0-9@*#?$!-]")
_BRACES = re.compile(r"(!?#?)([A-Za-z_]\w*|[0-9@*#?])(?:\[([^]]*)\])?(.*)", re.DOTALL)

SIGNS: Mapping[type, Callable[[int, int], int]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.floordiv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
}


def is_open(text: str) -> bool:
    """Whether part of ``text`` is only known when it runs."""
    return OPEN in text


def shown(text: str) -> str:
    """``text`` as it was written."""
    return text.replace(OPEN, "$")


def one_word(text: str, values: Values) -> str:
    """A word as one, as in an assignment: nothing is split."""
    return "".join(piece for piece, _ in _pieces(text, values))


def words(text: str, values: Values) -> list[str]:
    """A word as a command gets it: what was not quoted is split at spaces."""
    whole = re.fullmatch(r'("?)\$\{(\w+)\[[@*]\]\}"?', text)
    items = values.get(whole[2]) if whole else None
    if whole and isinstance(items, list):
        return list(items) if whole[1] else [part for item in items for part in item.split()]
    found: list[str] = []
    current: str | None = None
    for piece, quoted in _pieces(text, values):
        if quoted:
            current = (current or "") + piece
            continue
        parts = _at_spaces(piece)
        for number, part in enumerate(parts):
            if number and current is not None:
                found.append(current)
                current = None
            if part:
                current = (current or "") + part
    return [*found, current] if current is not None else found


def _at_spaces(text: str) -> list[str]:
    """Split at spaces, not within an expansion that is not known."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == OPEN and text[at + 1 : at + 2] in ("(", "{"):
            at = _closing(text, at + 1)
        elif text[at].isspace():
            parts.append(text[start:at])
            while at + 1 < len(text) and text[at + 1].isspace():
                at += 1
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def _pieces(text: str, values: Values) -> list[tuple[str, bool]]:
    """Expanded pieces, each with whether it was quoted or literal."""
    found: list[tuple[str, bool]] = []
    at = 0
    while at < len(text):
        char = text[at]
        if char == "\\":
            found.append(("" if text[at + 1 : at + 2] == "\n" else text[at + 1 : at + 2], True))
            at += 2
        elif char == "'":
            end = text.find("'", at + 1)
            end = end if end > 0 else len(text)
            found.append((text[at + 1 : end], True))
            at = end + 1
        elif char == '"':
            end = _quote_end(text, at)
            found.append((double(text[at + 1 : end], values), True))
            at = end + 1
        elif char == OPEN and text[at + 1 : at + 2] in ("(", "{"):
            end = _closing(text, at + 1) + 1
            found.append((text[at:end], True))
            at = end
        elif char in "$`":
            piece, at = _expansion(text, at, values)
            found.append((piece, False))
        elif char == OPEN:
            found.append((char, True))
            at += 1
        else:
            special = f"\\'\"$`{OPEN}"
            end = next((i for i in range(at, len(text)) if text[i] in special), len(text))
            found.append((text[at:end], True))
            at = end
    return found


def double(text: str, values: Values) -> str:
    """Text as it stands between double quotes or in a here-document."""
    made, at = "", 0
    while at < len(text):
        char = text[at]
        if char == "\\" and text[at + 1 : at + 2] in ("$", "`", '"', "\\", "\n"):
            made += text[at + 1].replace("\n", "")
            at += 2
        elif char in "$`":
            piece, at = _expansion(text, at, values)
            made += piece
        else:
            made += char
            at += 1
    return made


def _quote_end(text: str, start: int) -> int:
    at = start + 1
    while at < len(text) and text[at] != '"':
        if text[at] == "\\":
            at += 2
        elif text[at] == "$" and text[at + 1 : at + 2] in ("(", "{"):
            at = _closing(text, at + 1) + 1
        else:
            at += 1
    return min(at, len(text))


def _closing(text: str, start: int) -> int:
    """Where the bracket at ``start`` closes."""
    pair = {"(": ")", "{": "}"}
    opening, depth, at = text[start], 0, start
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == "'" and opening == "(":
            end = text.find("'", at + 1)
            at = end if end > 0 else at
        else:
            depth += (text[at] == opening) - (text[at] == pair[opening])
            if depth == 0:
                return at
        at += 1
    return len(text) - 1


def _expansion(text: str, at: int, values: Values) -> tuple[str, int]:
    """What a ``$`` or a backquote becomes, and where the text goes on."""
    if text[at] == "`":
        end = text.find("`", at + 1)
        end = end if end > 0 else len(text) - 1
        return OPEN + "(" + text[at + 1 : end] + ")", end + 1
    following = text[at + 1 : at + 2]
    if following in ("(", "{"):
        end = _closing(text, at + 1)
        inner = text[at + 2 : end]
        if following == "{":
            return _braces(inner, values), end + 1
        if inner.startswith("(") and inner.endswith(")"):
            return arithmetic(inner[1:-1], values), end + 1
        return OPEN + text[at + 1 : end + 1], end + 1
    name = _NAME.match(text, at + 1)
    if name is None:
        return "$", at + 1
    return _value(name[0], values), name.end()


def _value(name: str, values: Values) -> str:
    found = values.get(name)
    if found is None:
        return OPEN + name
    return found if isinstance(found, str) else (found[0] if found else "")


def _braces(inner: str, values: Values) -> str:
    parts = _BRACES.fullmatch(inner)
    unknown = OPEN + "{" + inner + "}"
    if parts is None or parts[1] == "!":
        return unknown
    length, name, index, rest = parts.groups()
    found = _element(name, index, values)
    if length:
        counted = values.get(name) if index in ("@", "*") else found
        return unknown if counted is None else str(len(counted))
    if not rest:
        return unknown if found is None else found
    return _changed(name, found, rest, values, unknown)


def _element(name: str, index: str | None, values: Values) -> str | None:
    found = values.get(name)
    if isinstance(found, list):
        if index in ("@", "*"):
            return " ".join(found)
        place = int(index) if index and index.isdigit() else 0
        return found[place] if place < len(found) else ""
    return found


def _changed(name: str, found: str | None, rest: str, values: Values, unknown: str) -> str:
    """``${NAME:-default}`` and its kin, and what cuts off a pattern."""
    for sign in (":-", ":=", "-", "=", ":+", "+", ":?", "?"):
        if rest.startswith(sign):
            other = double(rest[len(sign) :].strip("\"'"), values)
            unset = found is None or (sign[0] == ":" and found == "")
            if sign[-1] == "+":
                return "" if unset else other
            if sign[-1] == "?":
                return unknown if unset else found or ""
            if sign[-1] == "=" and unset and isinstance(values, dict):
                values[name] = other
            return other if unset else found or ""
    if found is None or is_open(found):
        return unknown
    cut = re.match(r"(##?|%%?)", rest)
    return _cut(found, cut[1], one_word(rest[cut.end() :], values)) if cut else unknown


def _cut(text: str, sign: str, pattern: str) -> str:
    lengths = range(len(text) + 1)
    order = lengths if len(sign) == 1 else lengths[::-1]
    for count in order:
        head, tail = text[:count], text[len(text) - count :]
        if sign[0] == "#" and fnmatchcase(head, pattern):
            return text[count:]
        if sign[0] == "%" and fnmatchcase(tail, pattern):
            return text[: len(text) - count]
    return text


def arithmetic(text: str, values: Values) -> str:
    """The number of ``$((…))``, or its text where a part is not known."""
    plain = re.sub(r"\$?\{?\b([A-Za-z_]\w*)\b\}?", lambda m: _value(m[1], values), text)
    try:
        return str(_number(ast.parse(plain.strip(), mode="eval").body))
    except (SyntaxError, ValueError, ZeroDivisionError, RecursionError):
        return OPEN + "((" + text + "))"


def _number(node: ast.expr) -> int:
    if isinstance(node, ast.Constant) and isinstance(node.value, int):
        return int(node.value)
    if isinstance(node, ast.BinOp) and type(node.op) in SIGNS:
        return SIGNS[type(node.op)](_number(node.left), _number(node.right))
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -_number(node.operand)
    raise ValueError("not plain arithmetic")
