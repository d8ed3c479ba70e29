"""The words of a shell script: quotes, continuations, arrays, comments and here-documents."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

OPERATORS = ("<<<", "<<-", ";;", "&&", "||", ">>", "<<", "&>", ">&", "<&", ">|", "|&")
"""Operators of more than one letter, the longest first."""

CLOSING = {"(": ")", "{": "}"}

OPEN = "\ue000"
"""Stands for the ``$`` of an expansion whose value is not known."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Token:
    """A word as it is written, or an operator."""

    text: str
    """With its quotes; the line's end is an operator of its own."""
    line: int
    """Where it begins, from 1."""
    operator: bool = False
    """Not a word."""
    body: str = ""
    """Of the here-document that an ``<<`` begins."""


def tokens(text: str, line: int = 1) -> list[Token]:
    """The tokens of ``text``, whose first line has the number ``line``.

    What ends too early, such as an open quote, ends with the text: nothing is refused.
    """
    return list(_Reader(text, line).tokens())


class _Reader:
    """One pass over a script."""

    def __init__(self, text: str, line: int) -> None:
        self._text = text
        self._at = 0
        self._line = line
        self._waiting: list[tuple[int, str, bool]] = []
        self._found: list[Token] = []

    def tokens(self) -> list[Token]:
        while self._at < len(self._text):
            self._next()
        return self._found

    def _next(self) -> None:
        char = self._text[self._at]
        if char == "\n":
            self._add("\n", operator=True)
            self._move(1)
            self._bodies()
        elif self._text.startswith("\\\n", self._at):
            self._move(2)
        elif char in " \t\r":
            self._move(1)
        elif char == "#":
            self._move(self._line_end() - self._at)
        elif char in ";&|<>()":
            self._operator()
        else:
            self._word()

    def _operator(self) -> None:
        known = (each for each in OPERATORS if self._text.startswith(each, self._at))
        text = next(known, self._text[self._at])
        self._add(text, operator=True)
        self._move(len(text))
        if text in ("<<", "<<-"):
            self._here_document(strip=text == "<<-")

    def _here_document(self, strip: bool) -> None:
        """Its end word; the body begins behind the line."""
        found = re.compile(r"[ \t]*(\\?[\w.-]+|'[^'\n]*'|\"[^\"\n]*\")").match(self._text, self._at)
        if found:
            self._move(found.end() - self._at)
            self._waiting.append((len(self._found) - 1, found[1], strip))

    def _bodies(self) -> None:
        for place, end, strip in self._waiting:
            lines, first = [], self._line
            while self._at < len(self._text):
                line = self._text[self._at : self._line_end()]
                self._move(len(line) + 1)
                line = line.lstrip("\t") if strip else line
                if line == end.strip("'\"\\"):
                    break
                lines.append(line)
            old = self._found[place]
            body = "".join(f"{line}\n" for line in lines)
            quoted = "'" if end[0] in "'\"\\" else ""
            self._found[place] = Token(
                text=f"{old.text}{quoted}", line=first, operator=True, body=body
            )
        self._waiting = []

    def _word(self) -> None:
        start, line = self._at, self._line
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in " \t\r\n;&|<>)":
                break
            if char == "(":
                if not re.fullmatch(r"\w+\+?=", self._text[start : self._at]):
                    break
                self._balanced()
            elif char in f"'\"\\$`{OPEN}":
                self._quoted()
            else:
                self._move(1)
        if self._at == start:
            self._move(1)
        self._found.append(Token(text=self._text[start : self._at], line=line))

    def _quoted(self) -> None:
        """Over a quote, an escape or an expansion."""
        char = self._text[self._at]
        if char == "\\":
            self._move(2)
        elif char == "'":
            end = self._text.find("'", self._at + 1)
            self._move((end if end > 0 else len(self._text)) + 1 - self._at)
        elif char in '"`':
            self._until(char)
        elif self._text[self._at + 1 : self._at + 2] in ("(", "{"):
            self._move(1)
            self._balanced()
        else:
            self._move(1)

    def _until(self, quote: str) -> None:
        self._move(1)
        while self._at < len(self._text) and self._text[self._at] != quote:
            char = self._text[self._at]
            if char == "\\":
                self._move(2)
            elif char == "$" or (char == "`" and quote == '"'):
                self._quoted()
            else:
                self._move(1)
        self._move(1)

    def _balanced(self) -> None:
        """Over parentheses or braces and everything in them."""
        opening = self._text[self._at]
        depth = 0
        while self._at < len(self._text):
            char = self._text[self._at]
            if char in "'\"\\`$":
                self._quoted()
                continue
            if char == "#" and opening == "(" and self._text[self._at - 1] in " \t\n(":
                self._move(self._line_end() - self._at)
                continue
            depth += (char == opening) - (char == CLOSING[opening])
            self._move(1)
            if depth == 0:
                return

    def _line_end(self) -> int:
        end = self._text.find("\n", self._at)
        return end if end >= 0 else len(self._text)

    def _add(self, text: str, *, operator: bool) -> None:
        self._found.append(Token(text=text, line=self._line, operator=operator))

    def _move(self, count: int) -> None:
        end = min(self._at + count, len(self._text))
        self._line += self._text.count("\n", self._at, end)
        self._at = end


def array_items(text: str, line: int) -> Iterator[Token]:
    """The words between the parentheses of ``NAME=(…)``."""
    return (token for token in tokens(text, line) if not token.operator)
