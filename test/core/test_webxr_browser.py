"""The page in a real browser, with an emulated headset of another maker inside."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from browser import browser, iwer  # noqa: F401
from device_support import Running, running
from ros_support import wait_until

from vla_ros.drivers.tracked import Tracked

HEADSET = """
window.device = new IWER.XRDevice(IWER.metaQuest3, {stereoEnabled: false});
window.device.installRuntime({forceInstall: true});
window.guessed = false;  // the emulated headset says of every position of a controller that it is guessed
Object.defineProperty(XRPose.prototype, 'emulatedPosition', {get: () => window.guessed});
"""
EYES = 1.6  # [m] above the floor, where the emulated head begins
POSE = "{p: [0, 1, 0], q: [0, 0, 0, 1]}"
SENDING = "window.timer = setInterval(() => tell({{type: 'pose', n: ++sent, t: 10 * sent, hands: {{{hand}: {pose}}}}}), 10); 1"
CONTROLLER = """
(() => {{
  const right = device.controllers.right;
  right.position.set({x}, {y}, {z});
  right.quaternion.set(0, 0, 0, 1);
  right.updateButtonValue('squeeze', {squeeze});
  right.updateButtonValue('trigger', {trigger});
  return true;
}})()
"""


def device_address(folder: Path) -> str:
    return f"webxr://127.0.0.1:0?token=secret&cert={folder}"


def url_of(device: Running) -> str:
    """The address of the page, as the operator is told it."""
    told = device.problem("in the headset's or phone's browser")
    return told.split("open ")[1].split(" ")[0]


def test_a_browser_opens_the_page_and_says_why_it_cannot_go_on(tmp_path: Path) -> None:
    with running("tracker", device_address(tmp_path)) as device, browser(tmp_path) as tab:
        tab.open(url_of(device))
        tab.shows("connection", "connected")
        device.problem("the page sends nothing; press Start on it")
        tab.run("document.getElementById('start').click(); 1")
        tab.shows("session", "No XR hardware found")
        tab.run("setInterval(() => tell({type: 'pose', n: ++sent, t: 10 * sent, hands: {right: " + POSE + "}}), 10); 1")
        device.more()
        tab.close()
        device.problem("the page was closed; open https://127.0.0.1:")


def test_a_browser_without_webxr_takes_nobodys_place(tmp_path: Path) -> None:
    with running("tracker", device_address(tmp_path)) as device, browser(tmp_path) as tab:
        tab.open(url_of(device), before="Object.defineProperty(navigator, 'xr', {value: undefined})")
        tab.shows("session", "this browser has no WebXR")
        tab.shows("connection", "none")
        device.problem("no page is open")


def test_the_page_that_sends_leads_and_one_that_is_turned_away_comes_back_when_it_sends(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    with (
        running("tracker", device_address(tmp_path)) as device,
        browser(tmp_path) as tab,
        browser(tmp_path / "other") as other,
    ):
        url = url_of(device)
        for one in (tab, other):
            one.open(url)
            one.shows("connection", "t")  # connected, or another page leads: no more "none"
        for leading, turned_away, hand in ((tab, other, "left"), (other, tab, "right")):
            leading.run(SENDING.format(hand=hand, pose=POSE))
            leading.shows("connection", "connected")
            turned_away.shows("connection", "another page leads the arm")
            wait_until(lambda: hand in device.more().value.poses, what=f"the {hand} hand")  # noqa: B023
            leading.run("clearInterval(window.timer); 1")
        assert device.stream.driver._server.pages <= 4, "they do not contend"


@pytest.mark.usefixtures("iwer")
def test_a_headset_in_the_browser_streams_its_controller_until_the_tab_is_closed(
    tmp_path: Path,
    iwer: str,  # noqa: F811
) -> None:
    with running("tracker", device_address(tmp_path)) as device, browser(tmp_path) as tab:
        tab.open(url_of(device), before=iwer + HEADSET)
        tab.shows("connection", "connected")
        tab.run("document.getElementById('start').click(); 1")
        tab.shows("session", "immersive-")

        def newest() -> Tracked:
            return device.readings[-1].value

        def put(x: float, y: float, z: float, squeeze: float, trigger: float) -> bool:
            tab.run(CONTROLLER.format(x=x, y=y, z=z, squeeze=squeeze, trigger=trigger))
            device.more(2)
            tracked = newest()
            wanted = [-z, -x, y - EYES]  # the origin is where the head was at the start
            return bool("right" in tracked.poses and np.allclose(tracked.poses["right"][:3], wanted, atol=0.08))

        wait_until(lambda: put(0.2, 1.3, -0.4, 1.0, 0.5), 60.0, "the controller")
        before, values = newest().poses["right"][:3], newest().values
        assert values["right clutch"] == 1.0 and values["right trigger"] == pytest.approx(0.5)
        wait_until(lambda: put(0.2, 1.4, -0.5, 0.0, 0.0), 60.0, "the controller")
        wait_until(lambda: newest().values["right clutch"] == 0.0, 60.0, "the grip button let go")
        moved = newest().poses["right"][:3] - before
        assert moved == pytest.approx([0.1, 0.0, 0.1], abs=1e-4), "forward and up"
        assert "head" in newest().poses
        tab.run("window.guessed = true")
        wait_until(lambda: "right" not in newest().poses, 60.0, "a guessed position to count for none")
        tab.close()
        device.problem("the page was closed; open https://127.0.0.1:")
