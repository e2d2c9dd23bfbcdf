"""A real headless Chromium, driven by the W3C's WebDriver protocol (https://w3.org/TR/webdriver2)."""

from __future__ import annotations

import base64
import json
import os
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

ELEMENT = "element-6066-11e4-a52e-4f735466cecf"  # the protocol's name for a reference
ENTER, SPACE = "\ue007", " "


def need_chromium() -> None:
    """Skip where Debian's packages chromium and chromium-driver are not installed."""
    missing = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if missing:
        pytest.skip(f"no {', '.join(missing)} here")


class Browser:
    """One window of a browser."""

    def __init__(self, driver: str, capabilities: dict[str, Any]) -> None:
        self._driver = driver
        made = self._ask("POST", "/session", {"capabilities": {"alwaysMatch": capabilities}})
        self._session = f"/session/{made['sessionId']}"

    def open(self, path: Path, fragment: str = "") -> None:
        self._post("/url", url=path.resolve().as_uri() + fragment)

    def run(self, script: str) -> Any:
        return self._post("/execute/sync", script=script, args=[])

    def click(self, selector: str) -> None:
        self._post(f"/element/{self._find(selector)}/click")

    def press(self, selector: str, keys: str) -> None:
        self._post(f"/element/{self._find(selector)}/value", text=keys)

    def resize(self, width: int, height: int, *, dark: bool) -> None:
        self._devtools("Emulation.setDeviceMetricsOverride", width=width, height=height,
                       deviceScaleFactor=1, mobile=width < 600)  # fmt: skip
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self) -> bytes:
        found = self._devtools("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(found["data"])

    def console(self) -> list[str]:
        return [one["message"] for one in self._post("/se/log", type="browser")]

    def requests(self) -> list[str]:
        """Addresses that pages have asked for."""
        found = [json.loads(one["message"])["message"]
                 for one in self._post("/se/log", type="performance")]  # fmt: skip
        sent = (one for one in found if one["method"] == "Network.requestWillBeSent")
        return [one["params"]["request"]["url"] for one in sent]

    def close(self) -> None:
        self._ask("DELETE", self._session)

    def _find(self, selector: str) -> str:
        found = self._post("/element", using="css selector", value=selector)
        return str(found[ELEMENT])

    def _devtools(self, command: str, **params: Any) -> Any:
        return self._post("/goog/cdp/execute", cmd=command, params=params)

    def _post(self, path: str, **body: Any) -> Any:
        return self._ask("POST", self._session + path, body)

    def _ask(self, method: str, path: str, body: dict[str, Any] | None = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        asked = urllib.request.Request(self._driver + path, data, headers, method=method)
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(asked) as answer:
            return json.load(answer)["value"]


@contextmanager
def chromium(folder: Path) -> Iterator[Browser]:
    """A browser with a profile of its own in a folder."""
    port = _free_port()
    command = ["chromedriver", f"--port={port}", "--allowed-ips=127.0.0.1"]
    with (folder / "chromedriver.log").open("wb") as log:
        driver = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        _wait(port, driver)
        browser = Browser(f"http://127.0.0.1:{port}", _capabilities(folder))
        try:
            yield browser
        finally:
            browser.close()
    finally:
        driver.terminate()
        driver.wait(30)


def _capabilities(folder: Path) -> dict[str, Any]:
    arguments = ["--headless", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
    arguments += [f"--user-data-dir={folder / 'profile'}"]
    if os.geteuid() == 0:
        arguments.append("--no-sandbox")
    return {
        "goog:chromeOptions": {"args": arguments, "binary": shutil.which("chromium")},
        "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
    }


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


def _wait(port: int, driver: subprocess.Popen[bytes]) -> None:
    until = time.monotonic() + 120
    while time.monotonic() < until and driver.poll() is None:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise RuntimeError("chromedriver did not start")
