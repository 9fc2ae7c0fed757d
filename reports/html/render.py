"""The HTML report: one file that needs no network, no server and no other file.

Its bytes depend only on the results and the pictures; of the times, only on what each image cost when it was made.
Everything out of results is untrusted text: escaped in HTML, plain data for the script, and a content security policy
lets nothing run or load but the page's own script and style.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from . import cost, leakage, outcomes, plots, strata
from .calibration import calibration
from .payload import payload, script_text
from .published import published
from .results import Results
from .sections import footnotes, header, images_table
from .table import gaps, table, turned, variants
from .text import esc
from .thumbnails import Thumbnails

HERE = Path(__file__).parent
NAV = (("scores", "Scores"), ("plots", "Plots"), ("images", "Images"), ("samples", "Samples"),
       ("checks", "Checks"), ("notes", "Notes"))  # fmt: skip
GROUPS = (
    ("dots", "Each method with its 95 % interval"),
    ("scatter", "Placement against what it may cost"),
    ("fates", "What became of the targets"),
    ("strata", "By stratum"),
    ("cost", "What an image costs"),
    ("leakage", "Whose look each place has"),
)
FATES = (
    'Share of targets <span class="quiet">one kind each; sound: found in place, with its own look, once. Samples weigh '
    "the same.</span>"
)

KEY = (
    "best group of the column: methods that cannot be told apart from the best. Letters: tie groups, best first; "
    "methods of one group cannot be told apart. Brackets: 95 % interval. Not controlled: the method reads no layout, "
    "so the score says what chance and the prompt give. Where fewer images than asked for stand behind a number, "
    "how many is said; and what it would be if lost images (failed, missing, not applicable) counted as the worst, "
    "where that differs."
)


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write `out`/index.html from the content of results.json and the pictures below `run`; returns that file.

    Raises LayoutmarkError when `results` have another schema or lack a part.  Pictures that cannot be read become
    placeholders and are counted on the page.
    """
    view = Results(results)
    thumbnails = Thumbnails(run, out)
    data, packed = script_text(payload(view, thumbnails))
    style, script = _read("page.css"), _read("page.js")
    # Pictures beside the page are allowed only if there are any.
    pictures = "data: file: 'self'" if thumbnails.beside else "data:"
    policy = (
        f"default-src 'none'; img-src {pictures}; style-src '{_hash(style)}'; script-src '{_hash(script)}'; "
        "base-uri 'none'; form-action 'none'"
    )
    parts = {
        "policy": policy,
        "title": f"{esc(view.data['name'])} · layoutmark",
        "css": style,
        "js": script,
        "header": header(view, len(thumbnails.absent)),
        "nav": "".join(f'<a href="#{key}">{words}</a>' for key, words in NAV),
        "main": _scores(view) + _plots(view) + _images(view),
        "notes": _checks(view) + footnotes(view),
        "data": data,
        "packed": packed,
    }
    # One pass: what a part brings is never searched for names again.
    page = re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _read("page.html"))
    return _write(out / "index.html", page)


def _scores(results: Results) -> str:
    headline, others = results.headline, results.others
    why = gaps(results, headline)
    more = turned(results, others, "Other scores") + variants(others)
    return (
        '<section id="scores" aria-labelledby="scores-title"><h2 id="scores-title">Scores</h2>'
        + table(results, headline, "Scores of each method")
        + f'<p class="key"><span class="best"></span> {KEY}</p>'
        + _folded("What the columns mean in full", variants(headline))
        + (_folded("Why some images have no score", why) if why else "")
        + (_folded("Other scores", more) if others else "")
        + "</section>"
    )


def _folded(title: str, body: str) -> str:
    return f"<details><summary>{title}</summary>{body}</details>"


def _plots(results: Results) -> str:
    found = plots.figures(results)
    shares = outcomes.bars(results)
    if shares:
        found.append(("fates", FATES, shares))
    found += [("cost", *pair) for pair in cost.figures(results)]
    found += [("leakage", *pair) for pair in leakage.figures(results)]
    body = ""
    for group, title in GROUPS:
        inner = "".join(
            f"<figure><figcaption>{caption}</figcaption>{svg}</figure>" for g, caption, svg in found if g == group
        )
        body += f'<h3>{title}</h3><div class="plots {group}">{inner}</div>' if inner else ""
    return (
        '<section id="plots" aria-labelledby="plots-title"><h2 id="plots-title">Plots</h2>'
        f"{plots.legend(results)}{body or '<p>No number to draw.</p>'}{strata.crossed(results)}</section>"
    )


def _images(results: Results) -> str:
    return (
        '<section id="images" aria-labelledby="images-title"><h2 id="images-title">What became of the images</h2>'
        f"{images_table(results)}</section>"
    )


def _checks(results: Results) -> str:
    return (
        '<section id="checks" aria-labelledby="checks-title"><h2 id="checks-title">How far the numbers carry</h2>'
        f"{calibration(results)}{published(results)}</section>"
    )


def _read(file: str) -> str:
    return (HERE / file).read_text("utf-8")


def _hash(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


def _write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    part.write_bytes(text.encode("utf-8", "replace"))
    os.replace(part, path)
    return path
