"""Headless Chromium: where it is, and how to start it."""

from __future__ import annotations

import shutil
from pathlib import Path

BROWSER_NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
)  # fmt: skip


def find_browser() -> str | None:
    """Path of the first installed browser of `BROWSER_NAMES`."""
    return next((path for name in BROWSER_NAMES if (path := shutil.which(name))), None)


def make_command(browser: str, page: Path, profile: Path, *flags: str) -> list[str]:
    """Command line that opens `page` with the browser profile in the folder `profile`."""
    return [browser, *FLAGS, f"--user-data-dir={profile}", *flags, page.resolve().as_uri()]
