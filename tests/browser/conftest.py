"""A page in headless Chromium with a probe: a script that the page's policy admits by its digest."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from chromium import BROWSER_NAMES, find_browser, make_command

DARK_MODE_FLAG = "--blink-settings=preferredColorScheme=0"
MAX_WAIT_SECONDS = 240.0
PROBE = """(async () => {
  // A browser with nothing to draw produces no frame.
  const frame = () => new Promise((done) => {
    requestAnimationFrame(() => setTimeout(done, 50));
    setTimeout(done, 400);
  });
  const $$ = (path, from) => [...(from || document).querySelectorAll(path)];
  for (let k = 0; k < 200 && (k < 1 || document.getElementById("explorer")?.hidden); k++) await frame();
  let answer;
  try { answer = await (async () => { %s })(); } catch (error) { answer = { error: String(error.stack) }; }
  parent.postMessage(JSON.stringify(answer), "*");
})();"""
# Chromium's window is at least 500 pixels wide; a frame can be narrower.
FRAME = """<!doctype html><body style="margin:0"><script>addEventListener("message", (event) =>
  console.log(`answer ${btoa(unescape(encodeURIComponent(event.data)))} end`));</script>
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
    """`chromium(page, *flags)`: the command line, with a new profile; skips the test if there is no browser."""
    browser = find_browser()
    if browser is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSER_NAMES)} is installed")

    def command(page: Path, *flags: str) -> list[str]:
        profile = tmp_path_factory.mktemp("profile")
        return make_command(browser, page, profile, "--enable-logging=stderr", *flags)

    return command


@pytest.fixture(scope="session")
def probe(chromium: Callable[..., list[str]]) -> Callable[..., Any]:
    """`probe(page, script, dark=False, width=1280)`: the return value of `script`, an async function body, in the page.

    The page is copied, and its policy extended by this one script.  The console must stay empty.
    """

    def run(page: Path, script: str, *, dark: bool = False, width: int = 1280) -> Any:
        text, code = page.read_text("utf-8"), PROBE % script
        digest = base64.b64encode(hashlib.sha256(code.encode()).digest()).decode()
        source, default = f"script-src 'sha256-{digest}' ", "default-src 'none'; "
        text, count = re.subn("script-src ", source, text, count=1)
        text = text if count else text.replace(default, f"{default}{source}; ", 1)
        page.with_name("probed.html").write_text(text.replace("</body>", f"<script>{code}</script></body>"), "utf-8")
        frame = page.with_name("frame.html")
        frame.write_text(FRAME % width, "utf-8")
        size = f"--window-size={max(width, 500)},900"
        # An open port keeps the browser running until it is killed.
        flags = [size, "--remote-debugging-port=0", *([DARK_MODE_FLAG] if dark else [])]
        log = _read_log_until_answer(chromium(frame, *flags))
        *messages, last = [line for line in log if "CONSOLE" in line]
        assert messages == []
        match = re.search(r"answer ([\w+/=]+) end", last)
        assert match is not None, log[-20:]
        answer = json.loads(base64.b64decode(match[1]))
        assert not (isinstance(answer, dict) and "error" in answer), answer
        return answer

    return run


def _read_log_until_answer(command: list[str]) -> list[str]:
    """Lines of the browser's log up to the answer; all lines until `MAX_WAIT_SECONDS` if there is none."""
    log = []
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        timer = threading.Timer(MAX_WAIT_SECONDS, process.kill)
        timer.start()
        for line in process.stderr or ():
            log.append(line)
            if "answer " in line and "CONSOLE" in line:
                break
        timer.cancel()
        process.kill()
    return log
