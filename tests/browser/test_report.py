"""The HTML report in a real browser: the grid fills, nothing is refused by the policy, hostile texts stay texts."""

import html
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from layoutmark.report import write_report

DUMP = ("--virtual-time-budget=5000", "--dump-dom")


def dumped(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


@pytest.mark.browser
def test_the_grid_fills_without_a_word_on_the_console(
    example: ModuleType, chromium: Callable[..., list[str]], tmp_path: Path
) -> None:
    page = write_report(example.make_results(tmp_path), tmp_path)

    run = dumped(chromium(page, "--window-size=1280,6000", *DUMP))

    assert not [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    assert '<output id="tally" aria-live="polite">12 of 12</output>' in run.stdout
    assert run.stdout.count('<article class="row"') == 12
    cells = re.findall(r'<figure class="cell [a-z]+">', run.stdout)
    assert len(cells) >= 5
    assert len(re.findall(r'<img alt="" decoding="async"[^>]*src="data:image/png;base64,', run.stdout)) >= 4
    # The two script elements of the page, and none out of a name.
    assert len(re.findall(r"<script[ >]", run.stdout)) == 2
    assert html.escape(example.SCRIPT, quote=False) in run.stdout


@pytest.mark.browser
def test_the_policy_stops_what_is_not_the_pages_own(
    example: ModuleType, chromium: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A script, a style and a picture from elsewhere, put into the file by hand, neither run nor load."""
    page = write_report(example.make_results(tmp_path, samples=2), tmp_path)
    planted = (
        "<script>document.title = 'planted'</script><img src=x onerror=\"document.title = 'planted'\">"
        "<img src='http://192.0.2.1/a.png'><style>body { color: red }</style>"
    )
    page.write_text(page.read_text("utf-8").replace("</header>", f"{planted}</header>"), "utf-8")

    run = dumped(chromium(page, *DUMP))

    assert "<title>planted</title>" not in run.stdout
    refused = [line for line in run.stderr.splitlines() if "CONSOLE" in line and "Content Security Policy" in line]
    assert len(refused) >= 4
