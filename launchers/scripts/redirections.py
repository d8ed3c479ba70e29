"""Redirections and here-documents of a command."""

from llmtrain.launchers.scripts.tokens import Token

REDIRECTIONS = (">", ">>", "<", ">|", "&>", ">&", "<&", "<<<")
"""What a file's name follows."""


def redirected(found: list[Token]) -> tuple[list[Token], list[str], list[tuple[Token, bool]]]:
    """The words without redirections, the files written, the here-documents."""
    plain: list[Token] = []
    targets: list[str] = []
    bodies: list[tuple[Token, bool]] = []
    skip = ""
    for token in found:
        if token.operator and token.text.startswith("<<") and token.text != "<<<":
            bodies.append((token, token.text.endswith("'")))
        elif token.operator:
            skip = token.text if token.text in REDIRECTIONS else ""
            if plain and plain[-1].text in ("1", "2") and skip.startswith((">", "&>")):
                plain.pop()
        elif skip:
            if skip in (">", ">>", ">|"):
                targets.append(token.text)
            skip = ""
        else:
            plain.append(token)
    return plain, targets, bodies
