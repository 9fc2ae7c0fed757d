"""The HTML report in a real browser: the grid fills, nothing is refused by the policy, hostile texts stay texts."""

import html
import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from layoutmark.publish import write_report

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr", "--virtual-time-budget=5000",
    "--window-size=1280,6000", "--dump-dom",
)  # fmt: skip


@pytest.mark.browser
def test_the_grid_fills_without_a_word_on_the_console(tmp_path: Path) -> None:
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")
    path = Path(__file__).parents[1] / "reports" / "example.py"
    spec = importlib.util.spec_from_file_location("report_example", path)
    assert spec is not None
    assert spec.loader is not None
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    results = example.make_results(tmp_path)
    page = write_report(results, tmp_path)

    command = [browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", page.resolve().as_uri()]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)

    assert not [line for line in run.stderr.splitlines() if "CONSOLE" in line]
    assert '<output id="tally" aria-live="polite">12 of 12</output>' in run.stdout
    assert run.stdout.count('<article class="row"') == 12
    cells = re.findall(r'<figure class="cell [a-z]+">', run.stdout)
    assert len(cells) >= 5
    assert len(re.findall(r'<img alt="" decoding="async"[^>]*src="data:image/png;base64,', run.stdout)) >= 4
    # The two script elements of the page, and none out of a name.
    assert len(re.findall(r"<script[ >]", run.stdout)) == 2
    assert html.escape(example.SCRIPT, quote=False) in run.stdout
