"""Whatever sets variables: a shell script, an env file, YAML or JSON, a live environment."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal

import yaml

from llmtrain.config.yaml_reader import LOADER
from llmtrain.launchers.scripts.follow import read_script
from llmtrain.launchers.scripts.script import Script, Setting

NAME = re.compile(r"[A-Z][A-Z0-9_]*[A-Z0-9]")
"""What a YAML key or list item must look like to be the name of a variable."""

_PAIR = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
_ENV_LINE = re.compile(r"[A-Za-z_]\w*=(\"[^\"]*\"|'[^']*'|[^\s\"'(]*)")
_OPTION = re.compile(r"(?:--env|--export|-e|-x|--genv|-genv)(?:=|$)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """What a file sets and starts."""

    kind: Literal["shell", "env", "yaml", "live"]
    """env: lines of NAME=value alone; live: the environment of a process."""
    settings: tuple[Setting, ...]
    """In the order of their lines."""
    text: str = ""
    """The file."""
    scripts: tuple[Script, ...] = field(default_factory=tuple)
    """The script, or those within YAML."""


def read_document(text: str, name: str = "") -> Document:
    """What ``text`` sets; ``name`` is the file's, whose ending tells YAML and JSON from shell."""
    if name.endswith((".yaml", ".yml", ".json")):
        found = _yaml_document(text)
        if found is not None:
            return found
    if _is_env_file(text):
        return Document(kind="env", settings=tuple(_env_lines(text)), text=text)
    return _shell(text)


def live(environment: Mapping[str, str]) -> Document:
    """The environment of a process; it has no lines."""
    settings = (Setting(name=name, value=environment[name], line=0) for name in sorted(environment))
    return Document(kind="live", settings=tuple(settings))


def _shell(text: str) -> Document:
    script = read_script(text)
    settings = [*script.settings]
    for command in script.commands:
        settings += _of_options(command.words, command.line)
    if script.options.get("export"):
        line = text[: text.find("--export")].count("\n") + 1
        settings += _pairs(script.options["export"].split(","), line)
    settings.sort(key=lambda setting: setting.line)
    return Document(kind="shell", settings=tuple(settings), text=text, scripts=(script,))


def _of_options(words: tuple[str, ...], line: int) -> Iterator[Setting]:
    """``--env NAME=value``, ``-x NAME=value``, ``--export=ALL,NAME=value``."""
    option = ""
    for word in words:
        if option:
            yield from _pairs(word.split(","), line)
            option = ""
        elif _OPTION.match(word):
            if "=" in word:
                yield from _pairs(word.partition("=")[2].split(","), line)
            else:
                option = word


def _pairs(items: list[str], line: int) -> Iterator[Setting]:
    for item in items:
        match = _PAIR.fullmatch(item)
        if match and NAME.fullmatch(match[1]):
            yield Setting(name=match[1], value=_known(match[2]), line=line)


def _is_env_file(text: str) -> bool:
    lines = [line.strip() for line in text.splitlines()]
    told = [line for line in lines if line and not line.startswith("#")]
    return bool(told) and all(_ENV_LINE.fullmatch(line) for line in told)


def _env_lines(text: str) -> Iterator[Setting]:
    for number, line in enumerate(text.splitlines(), start=1):
        match = _PAIR.fullmatch(line.strip())
        if match:
            yield Setting(name=match[1], value=_known(match[2].strip("\"'")), line=number)


def _known(value: str) -> str | None:
    """The value, unless a part of it is only filled in later."""
    return None if re.search(r"[$\ue000<>]|\{\{|%\(", value) else value


def _yaml_document(text: str) -> Document | None:
    try:
        nodes = list(yaml.compose_all(text, Loader=LOADER))
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    reader = _YamlReader()
    for node in nodes:
        if node is not None:
            reader.walk(node)
    settings = sorted(reader.settings, key=lambda setting: setting.line)
    return Document(kind="yaml", settings=tuple(settings), text=text, scripts=tuple(reader.scripts))


class _YamlReader:
    """Walks YAML and gathers what looks like a variable."""

    def __init__(self) -> None:
        self.settings: list[Setting] = []
        self.scripts: list[Script] = []

    def walk(self, node: yaml.Node) -> None:
        if isinstance(node, yaml.MappingNode):
            self._mapping(node)
        elif isinstance(node, yaml.SequenceNode):
            for item in node.value:
                self.walk(item)
        elif isinstance(node, yaml.ScalarNode):
            self._scalar(node)

    def _mapping(self, node: yaml.MappingNode) -> None:
        by_key = {key.value: value for key, value in node.value if isinstance(key.value, str)}
        named, value = by_key.get("name"), by_key.get("value")
        if isinstance(named, yaml.ScalarNode) and isinstance(value, yaml.ScalarNode):
            self._add(named.value, value)
        for key, value in node.value:
            if isinstance(value, yaml.ScalarNode) and isinstance(key.value, str):
                self._add(key.value, value)
            self.walk(value)

    def _add(self, name: str, node: yaml.ScalarNode) -> None:
        if NAME.fullmatch(name) and node.tag != "tag:yaml.org,2002:null":
            value = node.value
            if node.tag == "tag:yaml.org,2002:bool":
                value = value.lower()
            line = node.start_mark.line + 1
            self.settings.append(Setting(name=name, value=_known(value), line=line))

    def _scalar(self, node: yaml.ScalarNode) -> None:
        text, line = node.value, node.start_mark.line + 1
        match = _PAIR.fullmatch(text)
        if match and NAME.fullmatch(match[1]) and not re.search(r"\s", text):
            self.settings.append(Setting(name=match[1], value=_known(match[2]), line=line))
        elif re.search(r"(^|\s)export\s+\w+=|(^|\s)(--env|-x)[ =][A-Z]\w*=|^[A-Z_]\w+=\S+\s", text):
            inner = _shell(text)
            first = line + 1 if node.style in ("|", ">") else line
            moved = first - 1 if node.style == "|" else None
            for s in inner.settings:
                at = s.line + moved if moved is not None else line
                self.settings.append(
                    Setting(name=s.name, value=s.value, line=at, exported=s.exported)
                )
            self.scripts += inner.scripts
