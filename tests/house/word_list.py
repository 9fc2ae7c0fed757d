"""Words that the project has replaced, each with its replacement; `make lint` runs `python tests/house/word_list.py`.

It reads documents, and the comments, docstrings and names of Python files.  Other strings are not checked: some are
stored in results.  A line that needs one of the words contains a mark of `ALLOWED`.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PATHS = ("bench", "methods", "datasets", "reports", "tests", "docs", "README.md", "CONTRIBUTING.md", "Makefile")
ALLOWED = ("words: ok", "--pictures", "`pictures`")
"""Marks of lines that are not checked: an exemption, and an option and a JSON key that keep their old name."""
WORDS = {
    r"pictures?": "image",
    r"guests?": "plug-in",
    r"shelf": "registry",
    r"anew": "again",
    r"whatever": "any, regardless of",
    r"mend(s|ed|ing)?": "fix",
    r"fates?": "outcome",
    r"at hand": "available",
    r"(?<!there )(?<!it )is no (?!longer)": "is not a",
}
"""Pattern of whole words, and the replacement."""
VARIABLES = dict.fromkeys(
    ("found", "said", "told", "held", "wanted", "mine", "whole"), "the name of the value it holds"
)
"""Variable names that do not describe their value."""


def check_text(text: str, first_line: int = 1) -> Iterator[tuple[int, str, str]]:
    """Yield line number, word and replacement for every replaced word in a text.

    >>> list(check_text("A picture of a dog."))
    [(1, 'picture', 'image')]
    """
    for number, line in enumerate(text.splitlines(), first_line):
        for pattern, replacement in WORDS.items():
            if match := re.search(rf"\b{pattern}\b" if not pattern.startswith("(?<") else pattern, line, re.IGNORECASE):
                yield number, match[0], replacement


def check_python(source: str) -> Iterator[tuple[int, str, str]]:
    """Yield line number, word and replacement for comments, docstrings and names of a Python file.

    >>> list(check_python("found = 1  # the shelf"))
    [(1, 'shelf', 'registry'), (1, 'found', 'the name of the value it holds')]
    """
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield from check_text(node.value.value, node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield from check_text(token.string, token.start[0])
        elif token.type == tokenize.NAME:
            yield from check_text(token.string.replace("_", " "), token.start[0])
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store) and node.id in VARIABLES:
            yield node.lineno, node.id, VARIABLES[node.id]


def check_file(path: Path) -> Iterator[str]:
    """Yield one message for every replaced word in a file."""
    text = path.read_text("utf-8")
    lines = text.splitlines()
    hits = check_python(text) if path.suffix == ".py" else check_text(text)
    for number, word, replacement in sorted(set(hits)):
        if not any(mark in lines[number - 1] for mark in ALLOWED):
            yield f"{path.relative_to(ROOT)}:{number}: {word.strip()!r}; use {replacement!r}"


def main() -> int:
    """Print every message; returns 1 if there is one."""
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *PATHS], cwd=ROOT, capture_output=True, text=True
    )
    paths = [ROOT / name for name in sorted(set(listing.stdout.splitlines()))]
    checked = [p for p in paths if p.suffix in (".py", ".md") and p.is_file() and p != Path(__file__).resolve()]
    messages = [message for path in checked for message in check_file(path)]
    print("\n".join(messages))
    return int(bool(messages))


if __name__ == "__main__":
    sys.exit(main())
