"""Lengths of prompts in tokens of CLIP, counted in plain Python where CLIP's vocabulary is installed.

Stable Diffusion and CLIP read 75 tokens and no more.  The vocabulary comes with open_clip or OpenAI's clip; neither is
imported.  It is part of no digest: where it is missing, prompts have the stratum `words` alone.

Source of the algorithm: Sennrich et al. 2016 (byte-pair encoding over the bytes of words); of the vocabulary and the
way texts are cut into words: openai/CLIP, simple_tokenizer.py, commit d05afc4 (MIT).
"""

from __future__ import annotations

import gzip
import html
import importlib.util
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from functools import cache, lru_cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path

from layoutmark.ingest.strata import length_range

STRATUM = "tokens"
PACKAGES = ("open_clip", "clip")
FILE = "bpe_simple_vocab_16e6.txt.gz"
SHA256 = "924691ac288e54409236115652ad4aa250f48203de50a9e4722a6ecd48d6804a"
MERGES = 49_152 - 256 - 2
"""Of the file's merges only these are used: what is left of 49,152 tokens after bytes, word ends and two marks."""
ENDINGS = ("'s", "'t", "'re", "'ve", "'m", "'ll", "'d")
QUOTES = str.maketrans("\u2018\u2019\u201c\u201d", "''\"\"")
END = "</w>"


def vocabulary() -> Path | None:
    """The vocabulary's file in the first installed package that has it unchanged, else None."""
    for package in PACKAGES:
        found = importlib.util.find_spec(package)
        for folder in (found.submodule_search_locations or ()) if found else ():
            path = Path(folder) / FILE
            if path.is_file() and sha256(path.read_bytes()).hexdigest() == SHA256:
                return path
    return None


def token_counts(prompts: Iterable[str]) -> list[int] | None:
    """Tokens of each prompt, those of beginning and end not counted; None without a vocabulary."""
    path = vocabulary()
    if path is None:
        return None
    return [sum(_pieces(word, path) for word in _words(prompt)) for prompt in prompts]


def token_strata(suite: object, samples: Iterable[str]) -> dict[str, str]:
    """The stratum of each sample id, as counted when the suite was made; samples without a count are left out.

    Nothing is counted here: results must not depend on which packages stand beside them.
    """
    known: Mapping[str, int] = getattr(suite, "tokens", None) or {}
    return {name: length_range(known[name]) for name in samples if name in known}


def _words(prompt: str) -> Iterator[str]:
    """Runs of letters, single digits, and runs of anything else, in small letters; endings such as 's apart."""
    text = unicodedata.normalize("NFC", html.unescape(html.unescape(prompt)).translate(QUOTES)).lower()
    at = 0
    while at < len(text):
        ending = next((e for e in ENDINGS if text.startswith(e, at)), None)
        kind, end = _kind(text[at]), at + 1
        if ending is not None:
            end = at + len(ending)
        elif kind != "N":
            while end < len(text) and _kind(text[end]) == kind:
                end += 1
        if ending is not None or kind != " ":
            yield text[at:end]
        at = end


def _kind(character: str) -> str:
    """L for letters, N for numbers, a blank for blanks, else P."""
    if character.isspace():
        return " "
    kind = unicodedata.category(character)[0]
    return kind if kind in "LN" else "P"


@lru_cache(maxsize=1 << 16)
def _pieces(word: str, path: Path) -> int:
    """Into how many tokens a word falls: its neighbouring pieces are joined, the earliest merge first."""
    ranks = _ranks(path)
    names = _bytes()
    pieces = [names[byte] for byte in word.encode()]
    pieces[-1] += END
    while len(pieces) > 1:
        best = min(pairwise(pieces), key=lambda pair: ranks.get(pair, len(ranks)))
        if best not in ranks:
            break
        joined: list[str] = []
        for piece in pieces:
            if joined and (joined[-1], piece) == best:
                joined[-1] += piece
            else:
                joined.append(piece)
        pieces = joined
    return len(pieces)


@cache
def _ranks(path: Path) -> dict[tuple[str, str], int]:
    lines = gzip.decompress(path.read_bytes()).decode("utf-8").split("\n")[1 : MERGES + 1]
    pairs = (tuple(line.split()) for line in lines)
    return {(pair[0], pair[1]): rank for rank, pair in enumerate(pairs)}


@cache
def _bytes() -> dict[int, str]:
    """How the vocabulary writes each byte: printable ones as themselves, the others as characters from 256 on."""
    shown = {*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)}
    hidden = [byte for byte in range(256) if byte not in shown]
    return {byte: chr(byte) for byte in shown} | {byte: chr(256 + n) for n, byte in enumerate(hidden)}
