"""`make report-image`: run the demo and save the first screen of its report as docs/images/report.png."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from chromium import BROWSER_NAMES, find_browser, make_command
from PIL import Image

ROOT = Path(__file__).parents[2]
TARGET = ROOT / "docs" / "images" / "report.png"
WIDTH, HEIGHT = 1280, 1180
PALETTE_COLOURS = 128
"""Enough for text and flat colours, at a third of the file size."""
COMMAND = "import sys; from layoutmark.cli.main import main; sys.exit(main(['run']))"


def main() -> None:
    """Run the demo, or take the report of an existing run, and write the image."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--run", type=Path, help="folder of a finished run (default: run the demo)")
    options = parser.parse_args()
    browser = find_browser()
    if browser is None:
        sys.exit(f"No browser found: none of {', '.join(BROWSER_NAMES)} is installed.")
    with tempfile.TemporaryDirectory() as folder:
        run = options.run or run_demo(Path(folder))
        take_screenshot(browser, run / "report" / "index.html", Path(folder))
    print(TARGET.relative_to(ROOT))


def run_demo(folder: Path) -> Path:
    """The run folder of a demo that keeps all its files below `folder`."""
    environment = {**os.environ, "LAYOUTMARK_HOME": str(folder / "home"), "LAYOUTMARK_RUNS": str(folder / "runs")}
    subprocess.run([sys.executable, "-c", COMMAND], check=True, cwd=folder, env=environment)
    (run,) = (folder / "runs").iterdir()
    return run


def take_screenshot(browser: str, page: Path, folder: Path) -> None:
    """Write the first screen of `page` to `TARGET`; `folder` holds temporary files."""
    screenshot = folder / "screenshot.png"
    flags = (f"--window-size={WIDTH},{HEIGHT}", "--hide-scrollbars", f"--screenshot={screenshot}")
    command = make_command(browser, page, folder / "profile", *flags)
    subprocess.run(command, check=True, timeout=300, stderr=subprocess.DEVNULL)
    with Image.open(screenshot) as image:
        palette = image.convert("RGB").quantize(PALETTE_COLOURS, dither=Image.Dither.NONE)
        palette.save(TARGET, optimize=True)


if __name__ == "__main__":
    main()
