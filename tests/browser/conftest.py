"""A page in headless Chromium, with a probe: a script that is let through the page's policy by its digest."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
import shutil
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--enable-logging=stderr",
)  # fmt: skip
DARK = "--blink-settings=preferredColorScheme=0"
WAIT = 240.0
PROBE = """(async () => {
  // A browser that has nothing to draw gives no frame.
  const frame = () => new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done, 50));
    setTimeout(done, 400);
  });
  const $$ = (path, from) => [...(from || document).querySelectorAll(path)];
  for (let k = 0; k < 200 && (k < 1 || document.getElementById("explorer")?.hidden); k++) await frame();
  let told;
  try { told = await (async () => { %s })(); } catch (error) { told = { error: String(error.stack) }; }
  parent.postMessage(JSON.stringify(told), "*");
})();"""
# Chromium's window is never narrower than 500 pixels; a frame may be.
FRAME = """<!doctype html><body style="margin:0"><script>addEventListener("message", (event) =>
  console.log(`told ${btoa(unescape(encodeURIComponent(event.data)))} end`));</script>
<iframe src="probed.html" width="%d" height="900" style="border:0"></iframe></body>"""


@pytest.fixture(scope="session")
def example() -> ModuleType:
    path = Path(__file__).parents[1] / "reports" / "example.py"
    spec = importlib.util.spec_from_file_location("report_example", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def chromium(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., list[str]]:
    """`chromium(page, *flags)`: the command line, with a profile of its own; skips where there is no browser."""
    browser = next((found for name in NAMES if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed")

    def call(page: Path, *flags: str) -> list[str]:
        profile = tmp_path_factory.mktemp("profile")
        return [browser, *FLAGS, f"--user-data-dir={profile}", *flags, page.resolve().as_uri()]

    return call


@pytest.fixture(scope="session")
def probe(chromium: Callable[..., list[str]]) -> Callable[..., Any]:
    """`probe(page, script, dark=False, width=1280)`: what the body of an async function returns inside the page.

    The copy of the page keeps its policy and lets this one script pass; nothing else may be said on the console.
    """

    def told(page: Path, script: str, *, dark: bool = False, width: int = 1280) -> Any:
        text, code = page.read_text("utf-8"), PROBE % script
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        own, least = f"script-src 'sha256-{digest}' ", "default-src 'none'; "
        text, changed = re.subn("script-src ", own, text, count=1)
        text = text if changed else text.replace(least, f"{least}{own}; ", 1)
        page.with_name("probed.html").write_text(text.replace("</body>", f"<script>{code}</script></body>"), "utf-8")
        outer = page.with_name("frame.html")
        outer.write_text(FRAME % width, "utf-8")
        size = f"--window-size={max(width, 500)},900"
        # An open port keeps the browser open until it is told to go.
        said = _until_told(chromium(outer, size, "--remote-debugging-port=0", *([DARK] if dark else [])))
        *before, last = [line for line in said if "CONSOLE" in line]
        assert before == []
        found = re.search(r"told ([\w+/=]+) end", last)
        assert found is not None, said[-20:]
        answer = json.loads(base64.b64decode(found[1]))
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    return told


def _until_told(command: list[str]) -> list[str]:
    """Lines of the browser's log up to the one that holds the answer, or all if there is none in time."""
    said = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as running:
        end = threading.Timer(WAIT, running.kill)
        end.start()
        for line in running.stderr or ():
            said.append(line)
            if "told " in line and "CONSOLE" in line:
                break
        end.cancel()
        running.kill()
    return said
