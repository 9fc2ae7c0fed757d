"""The HTML report in a real browser: the explorer fills, the policy refuses nothing, hostile texts are escaped."""

import html
import re
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest

from layoutmark.report import write_report

DUMP_FLAGS = ("--virtual-time-budget=5000", "--dump-dom")


def dump_page(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=True)


@pytest.mark.browser
def test_the_explorer_fills_and_the_console_stays_empty(
    example: ModuleType, chromium: Callable[..., list[str]], tmp_path: Path
) -> None:
    page = write_report(example.make_results(tmp_path), tmp_path)

    run = dump_page(chromium(page, "--window-size=1280,6000", *DUMP_FLAGS))

    assert not [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    assert '<output id="tally" aria-live="polite">12 of 12</output>' in run.stdout
    assert run.stdout.count('<article class="row"') == 12
    cells = re.findall(r'<figure class="cell [a-z]+">', run.stdout)
    assert len(cells) >= 5
    assert len(re.findall(r'<img alt="" decoding="async"[^>]*src="data:image/png;base64,', run.stdout)) >= 4
    # The two script elements of the page, and none from a name.
    assert len(re.findall(r"<script[ >]", run.stdout)) == 2
    assert html.escape(example.SCRIPT, quote=False) in run.stdout


@pytest.mark.browser
def test_the_policy_blocks_injected_content(
    example: ModuleType, chromium: Callable[..., list[str]], tmp_path: Path
) -> None:
    """A script, a style and a remote image that are inserted into the file neither run nor load."""
    page = write_report(example.make_results(tmp_path, samples=2), tmp_path)
    injected = (
        "<script>document.title = 'injected'</script><img src=x onerror=\"document.title = 'injected'\">"
        "<img src='http://192.0.2.1/a.png'><style>body { color: red }</style>"
    )
    page.write_text(page.read_text("utf-8").replace("</header>", f"{injected}</header>"), "utf-8")

    run = dump_page(chromium(page, *DUMP_FLAGS))

    assert "<title>injected</title>" not in run.stdout
    refused = [line for line in run.stderr.splitlines() if "CONSOLE" in line and "Content Security Policy" in line]
    assert len(refused) >= 4
