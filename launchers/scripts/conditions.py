"""What a shell's tests and ``case`` patterns decide, as far as the script alone says it."""

import re
from collections.abc import Sequence
from fnmatch import fnmatchcase

from llmtrain.launchers.scripts.expand import Values, is_open, one_word
from llmtrain.launchers.scripts.tokens import OPEN


def matches(subject: str, pattern: str, values: Values) -> bool:
    """Whether a ``case`` takes a pattern; of a subject that is not known only ``*``."""
    if pattern.strip() == "*":
        return True
    if is_open(subject):
        return False
    return fnmatchcase(subject, one_word(pattern, values))


def truth(found: Sequence[str], values: Values) -> bool | None:
    """Whether the words of a test hold; None where it asks for more than the script says."""
    texts = [text for text in found if text not in ("[", "[[", "]", "]]", "test")]
    if texts and texts[0] == "!":
        inner = truth(texts[1:], values)
        return None if inner is None else not inner
    if texts in (["true"], ["false"]):
        return texts == ["true"]
    for sign, decide in (("||", any), ("&&", all)):
        if sign in texts:
            place = texts.index(sign)
            parts = [truth(texts[:place], values), truth(texts[place + 1 :], values)]
            return None if None in parts else decide(bool(part) for part in parts)
    return _compared([one_word(text, values) for text in texts])


def _compared(parts: list[str]) -> bool | None:
    if len(parts) == 2 and parts[0] in ("-z", "-n"):
        # A variable that the file does not set is empty where nobody else sets it.
        empty = parts[1] == "" or bool(re.fullmatch(OPEN + r"\{?[A-Za-z_]\w*\}?", parts[1]))
        return empty == (parts[0] == "-z")
    if any(is_open(part) for part in parts):
        return None
    if len(parts) == 1:
        return bool(parts[0])
    if len(parts) != 3:
        return None
    left, sign, right = parts
    if sign in ("=", "=="):
        return left == right
    if sign == "!=":
        return left != right
    numbers = {"-eq": "==", "-ne": "!=", "-gt": ">", "-ge": ">=", "-lt": "<", "-le": "<="}
    try:
        a, b = int(left), int(right)
    except ValueError:
        return None
    outcomes = {"==": a == b, "!=": a != b, ">": a > b, ">=": a >= b, "<": a < b, "<=": a <= b}
    return outcomes[numbers[sign]] if sign in numbers else None
