"""The HTML report: one file that needs no network, no server and no other file.

Its bytes depend only on the results and the images; of the recorded times, only on those of generating each image.
Everything in the results is untrusted text: the templates escape it, the script treats it as data, and the content
security policy lets nothing run or load but the page's own script and style.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from layoutmark.atomic import write_bytes

from .calibration import calibrate
from .cost import cost_figures
from .figures import PageFigure
from .header import make_header
from .leakage import leakage_figures
from .notes import make_notes
from .outcomes import outcome_figures
from .page_templates import render_template
from .payload import make_payload, pack_script_data
from .plots import headline_figures
from .published import published_rows
from .results import STATUSES, Results
from .row_styles import legend_entries
from .strata import crossed_table
from .stratum_plots import stratum_figures
from .table import list_gaps, score_table
from .thumbnails import Thumbnails

FOLDER = Path(__file__).parent
FIGURE_GROUPS = (
    ("intervals", "Each method with its 95 % interval"),
    ("trade-offs", "Placement against other metrics"),
    ("outcomes", "Target outcomes"),
    ("strata", "By stratum"),
    ("cost", "Cost per image"),
    ("leakage", "Appearance leakage"),
)


def render(results: Mapping[str, Any], run: Path, out: Path) -> Path:
    """Write `out`/index.html from the content of results.json and the images below `run`; returns that file.

    Raises LayoutmarkError if `results` has another schema or lacks a part.  Unreadable images become placeholders and
    are counted on the page.
    """
    view = Results(results)
    thumbnails = Thumbnails(run, out)
    data, packing = pack_script_data(make_payload(view, thumbnails))
    css, js = ((FOLDER / name).read_text("utf-8") for name in ("page.css", "page.js"))
    page = render_template(
        "page.html",
        policy=_content_security_policy(css, js, has_linked_images=thumbnails.linked_count > 0),
        css=Markup(css),
        js=Markup(js),
        data=Markup(data),
        packing=packing,
        header=make_header(view, len(thumbnails.unreadable)),
        **_make_context(view),
    )
    path = out / "index.html"
    write_bytes(path, page.encode("utf-8", "replace"))
    return path


def _make_context(results: Results) -> dict[str, Any]:
    """What the templates of the sections read."""
    return {
        "results": results,
        "suite": results.data["suite"],
        "stack": results.data["stack"],
        "headline": score_table(results, results.headline_metrics),
        "others": score_table(results, results.other_metrics),
        "gaps": list_gaps(results, results.headline_metrics),
        "legend": legend_entries(results),
        "figure_groups": FIGURE_GROUPS,
        "figures": _group_figures(results),
        "strata": crossed_table(results),
        "statuses": list(STATUSES),
        "calibration": calibrate(results),
        "published": published_rows(results),
        "notes": make_notes(results),
    }


def _group_figures(results: Results) -> dict[str, list[PageFigure]]:
    """All figures by group; groups without figures are absent."""
    groups: dict[str, list[PageFigure]] = {}
    for make_figures in (headline_figures, stratum_figures, outcome_figures, cost_figures, leakage_figures):
        for figure in make_figures(results):
            groups.setdefault(figure.group, []).append(figure)
    return groups


def _content_security_policy(css: str, js: str, *, has_linked_images: bool) -> Markup:
    """Only this style and script; image files beside the page only if there are any."""
    image_sources = "data: file: 'self'" if has_linked_images else "data:"
    return Markup(
        f"default-src 'none'; img-src {image_sources}; style-src '{_hash_source(css)}'; "
        f"script-src '{_hash_source(js)}'; base-uri 'none'; form-action 'none'"
    )


def _hash_source(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")
