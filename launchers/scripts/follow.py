"""A shell script followed from top to bottom: its variables, its exports, the commands it starts.

It is read, never run. A condition that only the run can decide is taken as false for the commands
and its settings are noted all the same, so nothing that the file says is missed.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from llmtrain.launchers.scripts.conditions import matches, truth
from llmtrain.launchers.scripts.expand import double, is_open, one_word, words
from llmtrain.launchers.scripts.redirections import redirected
from llmtrain.launchers.scripts.script import Command, Script, Setting
from llmtrain.launchers.scripts.tokens import Token, array_items, tokens

_ASSIGNMENT = re.compile(r"([A-Za-z_]\w*)(?:\[(\w+)\])?(\+?)=(.*)", re.DOTALL)
_DIRECTIVE = re.compile(
    r"#SBATCH[ \t]+(--?[\w-]+)(?:[= \t][ \t]*(.*?))?[ \t]*(?:#.*)?$", re.MULTILINE
)
_SEPARATORS = ("\n", ";", ";;", "&&", "||", "&", "|", "|&", "(", ")")
DEPTH = 4
"""How deep scripts within strings and here-documents are followed."""


def read_script(text: str) -> Script:
    """Follow a script."""
    script = Script()
    for option, value in _DIRECTIVE.findall(text):
        script.options[_long(option)] = value.strip("\"'")
    _Run(script, depth=0).follow(text, 1)
    return script


def _long(option: str) -> str:
    """The long name of an ``sbatch`` option."""
    short = {"-N": "nodes", "-n": "ntasks", "-A": "account", "-p": "partition", "-t": "time"}
    short |= {
        "-q": "qos",
        "-J": "job-name",
        "-c": "cpus-per-task",
        "-G": "gpus",
        "-C": "constraint",
    }
    return short.get(option, option.lstrip("-"))


@dataclass(slots=True)
class _Frame:
    """An ``if``, ``case`` or loop that is open."""

    kind: str
    active: bool
    taken: bool = False
    subject: str = ""
    pattern: bool = False
    truth: bool | None = False
    waiting: bool = False


class _Run:
    """One script being followed."""

    def __init__(self, script: Script, depth: int) -> None:
        self._script = script
        self._depth = depth
        self._frames: list[_Frame] = []
        self._truth: bool | None = True
        self._export_all = False

    def follow(self, text: str, line: int) -> None:
        """All commands of ``text``."""
        collected: list[Token] = []
        before = "\n"
        for token in tokens(text, line):
            if token.operator and token.text in _SEPARATORS and not _in_test(token, collected):
                self._command(collected, before, token.text)
                before = token.text
                collected = []
                if before == ";;" and self._frames and self._frames[-1].kind == "case":
                    self._frames[-1].pattern, self._frames[-1].active = True, False
            else:
                collected.append(token)
        self._command(collected, before, "\n")

    def _command(self, found: list[Token], before: str, after: str) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame and frame.kind == "case" and frame.pattern and found:
            if found[0].text != "esac":
                self._pattern(frame, found, last=after == ")")
                return
        elif frame and frame.waiting and before in ("&&", "||"):
            self._further(frame, found, before)
            return
        found = self._keywords(found)
        plain, targets, bodies = redirected(found)
        if not plain:
            return
        if before == "&&" and self._truth is False:
            return
        if before == "||" and self._truth is not False:
            return
        self._simple(plain, targets, bodies)

    def _pattern(self, frame: _Frame, found: list[Token], *, last: bool) -> None:
        """``PATTERN)`` of a case, or ``PATTERN |`` before another."""
        fits = matches(frame.subject, found[0].text, self._script.values)
        frame.active = frame.active or (not frame.taken and fits)
        if last:
            frame.pattern = False
            frame.taken = frame.taken or frame.active

    def _keywords(self, found: list[Token]) -> list[Token]:
        """Open and close what the first words open and close."""
        while found and not found[0].operator:
            word = found[0].text
            if word in ("if", "while", "until", "elif"):
                self._open(word)
                return self._condition(found[1:])
            if word == "for":
                return self._for(found)
            if word == "case" and len(found) > 2:
                subject = one_word(found[1].text, self._script.values)
                self._frames.append(_Frame("case", False, subject=subject, pattern=True))
                return self._first_pattern(found)
            if word == "function":
                return []
            if not self._stands_alone(word):
                break
            found = found[1:]
        return found

    def _stands_alone(self, word: str) -> bool:
        """Do what a keyword says that needs no other words; False: it is no such keyword."""
        if word == "then":
            self._decide()
        elif word == "else" and self._frames:
            frame = self._frames[-1]
            frame.active, frame.taken = not frame.taken, True
        elif word in ("fi", "done", "esac"):
            if self._frames:
                self._frames.pop()
        else:
            return word in ("do", "{", "}", "!", "time", "exec")
        return True

    def _first_pattern(self, found: list[Token]) -> list[Token]:
        """A pattern on the line of its ``case``; what ends it is a parenthesis."""
        if len(found) > 3:
            self._pattern(self._frames[-1], found[3:], last=True)
        return []

    def _open(self, word: str) -> None:
        if word == "elif" and self._frames:
            self._frames[-1].active = False
        elif word == "if":
            self._frames.append(_Frame("if", False))
        elif word in ("while", "until"):
            self._frames.append(_Frame("loop", True, taken=True))

    def _condition(self, found: list[Token]) -> list[Token]:
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.kind == "if":
            frame.truth = truth([token.text for token in found], self._script.values)
            frame.waiting = True
        return []

    def _further(self, frame: _Frame, found: list[Token], sign: str) -> None:
        """``&& TEST`` or ``|| TEST`` behind the first condition."""
        both = (frame.truth, truth([token.text for token in found], self._script.values))
        decided = sign == "||"
        frame.truth = decided if decided in both else (None if None in both else not decided)

    def _decide(self) -> None:
        frame = self._frames[-1] if self._frames else None
        if frame is not None and frame.kind == "if":
            frame.active = frame.truth is True and not frame.taken
            frame.taken = frame.taken or frame.active
            frame.waiting = False

    def _for(self, found: list[Token]) -> list[Token]:
        self._frames.append(_Frame("loop", True, taken=True))
        texts = [token.text for token in found if not token.operator]
        if len(texts) > 3 and texts[2] == "in":
            items = [item for text in texts[3:] for item in words(text, self._script.values)]
            self._script.values[texts[1]] = items[0] if items else ""
        return []

    @property
    def _active(self) -> bool:
        return all(frame.active for frame in self._frames)

    def _simple(
        self, found: list[Token], targets: list[str], bodies: list[tuple[Token, bool]]
    ) -> None:
        first = found[0].text
        if first in ("[", "[[", "test", "true", "false"):
            self._truth = truth([token.text for token in found], self._script.values)
            return
        self._truth = None if first in ("exit", "return") else self._truth
        self._documents(targets, bodies, " ".join(token.text for token in found))
        if first in ("export", "declare", "typeset", "readonly", "local"):
            self._declared(found)
            return
        settings: list[Setting] = []
        while found and (match := _ASSIGNMENT.fullmatch(found[0].text)):
            settings.append(self._assigned(found[0], match))
            found = found[1:]
        if not found:
            self._note(settings, exported=self._export_all)
            return
        self._called(found, tuple(settings))

    def _called(self, found: list[Token], settings: tuple[Setting, ...]) -> None:
        values = self._script.values
        line = words(found[0].text, values) + [
            word for token in found[1:] for word in words(token.text, values)
        ]
        if line[:2] in (["set", "-a"], ["set", "-o"]):
            self._export_all = line[1] == "-a" or line[2:3] == ["allexport"]
            return
        if line[:1] == ["unset"]:
            self._unset(line[1:])
            return
        self._note(list(settings), exported=True, keep=False)
        if self._active and line:
            command = Command(words=tuple(line), line=found[0].line, before=settings)
            self._script.commands.append(command)
        self._inside(line, found[0].line)

    def _unset(self, names: list[str]) -> None:
        self._script.settings = [s for s in self._script.settings if s.name not in names]
        for name in names:
            self._script.values[name] = ""

    def _inside(self, line: list[str], number: int) -> None:
        """Scripts within the words of ``bash -c``, ``srun`` and ``eval``."""
        if line and line[0] in ("echo", "printf"):
            return
        if line[:1] == ["eval"]:
            self._deeper(" ".join(line[1:]), number)
            return
        for before, word in pairwise(line):
            script = re.search(r"\.py\b|(^|\s)export\s|\w=\S+\s+\w", word) or before == "-c"
            if script and re.search(r"\s", word):
                self._deeper(word, number)

    def _deeper(self, text: str, line: int) -> None:
        if self._depth >= DEPTH:
            return
        inner = _Run(self._script, self._depth + 1)
        inner._frames = [_Frame("inner", self._active)]
        # What is not known keeps its text, so that the words are those that were written.
        inner.follow(text, line)

    def _documents(
        self, targets: list[str], bodies: list[tuple[Token, bool]], command: str
    ) -> None:
        """Files that a here-document writes, and scripts that it feeds."""
        for token, quoted in bodies:
            values = self._script.values
            text = token.body if quoted else double(token.body, values)
            for target in targets:
                self._script.files[one_word(target, values)] = text
            script = any(target.rstrip("\"'").endswith(".sh") for target in targets)
            if script or re.search(r"\b(bash|sh|sbatch)\b", command):
                self._deeper(text, token.line + 1)

    def _declared(self, found: list[Token]) -> None:
        flags = [token.text for token in found[1:] if token.text.startswith("-")]
        exported = found[0].text == "export" or any("x" in flag for flag in flags)
        for token in found[1:]:
            match = _ASSIGNMENT.fullmatch(token.text)
            if match:
                self._note([self._assigned(token, match)], exported=exported)
            elif exported and "n" not in "".join(flags):
                self._export(one_word(token.text, self._script.values))

    def _export(self, name: str) -> None:
        if re.fullmatch(r"[A-Za-z_]\w*", name):
            self._script.exported.add(name)

    def _assigned(self, token: Token, match: re.Match[str]) -> Setting:
        """The value, and the variable set to it where this part of the script is taken."""
        name, index, plus, text = match.groups()
        values = self._script.values
        old = values.get(name)
        if text.startswith("(") and text.endswith(")"):
            inner = array_items(text[1:-1], token.line)
            new = [word for item in inner for word in words(item.text, values)]
            if self._active:
                values[name] = [*_as_list(old), *new] if plus else new
            return Setting(name=name, value=None, line=token.line)
        value = one_word(text, values)
        if plus:
            value = (old if isinstance(old, str) else "") + value
        if self._active and index and not plus:
            items = _as_list(old)
            place = int(index) if index.isdigit() else len(items)
            values[name] = [*items[:place], value, *items[place + 1 :]]
        elif self._active:
            values[name] = value
        known = None if is_open(value) else value
        return Setting(name=name, value=known, line=token.line)

    def _note(self, settings: list[Setting], *, exported: bool, keep: bool = True) -> None:
        for each in settings:
            found = Setting(name=each.name, value=each.value, line=each.line, exported=exported)
            self._script.settings.append(found)
            if exported and keep:
                self._script.exported.add(each.name)


def _in_test(token: Token, collected: Sequence[Token]) -> bool:
    """Whether an operator stands between ``[[`` and ``]]``."""
    texts = [each.text for each in collected]
    return token.text != "\n" and "[[" in texts and "]]" not in texts


def _as_list(value: str | list[str] | None) -> list[str]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, list) else [value]
