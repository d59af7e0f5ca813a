"""A real browser, Chromium without a screen, driven by its DevTools protocol."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from ros_support import wait_until

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu-sandbox", "--disable-dev-shm-usage", "--no-first-run")
FLAGS += (
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--ignore-certificate-errors",
    "--disable-extensions",
)
PATIENCE = 60.0  # [s]


class Tab:
    """A tab of the browser."""

    def __init__(self, socket: Any, session: str, target: str) -> None:
        self._socket, self._session, self.target = socket, session, target
        self._numbers = itertools.count(1000)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of the protocol and return its result."""
        return call(self._socket, next(self._numbers), method, parameters, self._session)

    def run(self, script: str) -> Any:
        """Run JavaScript as if the user had asked for it, and return its value."""
        answer = self.call(
            "Runtime.evaluate", expression=script, userGesture=True, awaitPromise=True, returnByValue=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def open(self, url: str, before: str = "") -> None:
        """Open a page; `before`: JavaScript that runs before its own."""
        self.call("Page.enable")
        if before:
            self.call("Page.addScriptToEvaluateOnNewDocument", source=before)
        self.call("Page.navigate", url=url)

    def shows(self, element: str, text: str) -> None:
        """Wait until an element shows a text."""
        script = f"document.getElementById('{element}')?.textContent || ''"
        seen: list[str] = [""]
        try:
            wait_until(lambda: text in (seen.append(self.run(script)) or seen[-1]), PATIENCE)
        except AssertionError:
            raise AssertionError(f"{element} does not show '{text}', but '{seen[-1]}'") from None

    def close(self) -> None:
        """Close the tab."""
        call(self._socket, next(self._numbers), "Target.closeTarget", {"targetId": self.target}, "")


def call(socket: Any, number: int, method: str, parameters: dict[str, Any], session: str) -> dict[str, Any]:
    message = {"id": number, "method": method, "params": parameters} | ({"sessionId": session} if session else {})
    socket.send(json.dumps(message))
    while True:
        answer = json.loads(socket.recv(timeout=PATIENCE))
        if answer.get("id") == number:
            assert "error" not in answer, f"{method}: {answer['error']}"
            return answer["result"]


@contextmanager
def browser(folder: Path) -> Iterator[Tab]:
    """Yield an empty tab of a new browser; skips where there is none."""
    from websockets.sync.client import connect

    program = next(filter(None, map(shutil.which, NAMES)), None)
    if program is None:
        pytest.skip("no Chromium here: apt install chromium")
    profile = folder / "browser"
    command = [program, *FLAGS, "--remote-debugging-port=0", f"--user-data-dir={profile}", "about:blank"]
    with (folder / "browser.log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            file = profile / "DevToolsActivePort"
            wait_until(lambda: file.exists() and len(file.read_text().split()) == 2, PATIENCE, "the browser")
            port, path = file.read_text().split()
            with connect(f"ws://127.0.0.1:{port}{path}", proxy=None, max_size=None, compression=None) as socket:
                target = call(socket, 1, "Target.createTarget", {"url": "about:blank"}, "")["targetId"]
                attached = call(socket, 2, "Target.attachToTarget", {"targetId": target, "flatten": True}, "")
                yield Tab(socket, attached["sessionId"], target)
        finally:
            process.kill()


@pytest.fixture(scope="session")
def iwer(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Immersive Web Emulation Runtime, by Meta: a headset inside the browser; skips where npm cannot get it."""
    npm = shutil.which("npm")
    if npm is None:
        pytest.skip("no npm here to install iwer, the emulated headset")
    folder = tmp_path_factory.mktemp("iwer")
    command = [
        npm,
        "install",
        "--no-audit",
        "--no-fund",
        "--ignore-scripts",
        "--fetch-retries=0",
        "--fetch-timeout=20000",
    ]
    command += ["--prefix", str(folder), "iwer@2.5.0"]
    try:
        result = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        pytest.skip("npm did not get iwer, the emulated headset, in time")
    if result.returncode:
        pytest.skip(f"npm cannot install iwer, the emulated headset: {result.stderr.strip().splitlines()[-1:]}")
    return (folder / "node_modules/iwer/build/iwer.min.js").read_text(encoding="utf-8")
