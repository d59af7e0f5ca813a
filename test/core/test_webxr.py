"""Headsets and phones by WebXR: the page's messages, the server, and who is let in."""

from __future__ import annotations

import http.client
import json
import ssl
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from device_support import running
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_support import wait_until
from scipy.spatial.transform import Rotation

from vla_ros.drivers.address import Address
from vla_ros.drivers.tracked import Axes, Tracked
from vla_ros.drivers.webxr import WebXr
from vla_ros.drivers.webxr_message import parse_message
from vla_ros.emulators.webxr import WebXrEmulator
from vla_ros.errors import DeviceError
from vla_ros.teleop.tracked_hand import TrackedHand

AXES = Axes("-z forward")
POSE = {"p": [0.1, 1.2, -0.3], "q": [0.0, 0.0, 0.0, 1.0]}


def read(**hands: object) -> Tracked:
    tracked = parse_message(json.dumps({"type": "pose", "n": 1, "t": 1500.0, "hands": hands}), AXES).tracked
    assert tracked is not None
    return tracked


def test_forward_up_and_right_of_the_headset_become_those_of_ros() -> None:
    pose = read(right=POSE).poses["right"]
    assert pose == pytest.approx([0.3, -0.1, 1.2, *pose[3:]]), "x to the front, y to the left, z up"
    nod = {"p": [0, 0, 0], "q": Rotation.from_rotvec([0.2, 0, 0]).as_quat().tolist()}  # about the axis to the right
    rest = Rotation.from_quat(read(right={**nod, "q": [0, 0, 0, 1]}).poses["right"][3:])
    turn = Rotation.from_quat(read(right=nod).poses["right"][3:]) * rest.inv()
    assert turn.as_rotvec() == pytest.approx([0, -0.2, 0])


def test_the_grip_button_is_the_clutch_and_the_trigger_closes_the_gripper() -> None:
    hand = TrackedHand(WebXr(Address.parse("webxr")), Address.parse("webxr"), (0.0, 0.04))
    held = hand.sample(read(right={**POSE, "squeeze": 1, "trigger": 0.25, "buttons": [0, 1]}), 7)
    assert held is not None and held.clutch and held.gripper == pytest.approx(0.03) and held.stamp == 7
    assert held.buttons["right button 1"]
    let_go = hand.sample(read(right={**POSE, "squeeze": 0.0, "trigger": 1.0}), 8)
    assert let_go is not None and not let_go.clutch and let_go.gripper == 0.0
    assert hand.sample(read(left=POSE), 9) is None, "the other hand does not take over"


def test_of_bare_hands_one_pinch_is_the_clutch_and_the_other_the_gripper() -> None:
    hand = TrackedHand(WebXr(Address.parse("webxr")), Address.parse("webxr"), (0.0, 0.04))
    apart, pinched = {"thumb": [0.0, 1.0, 0.0], "index": [0.0, 1.08, 0.0]}, {"thumb": [0, 1, 0], "index": [0, 1.015, 0]}
    for right, left, clutch, gripper in ((apart, pinched, True, 0.04), (pinched, apart, False, 0.0)):
        sample = hand.sample(read(right={**POSE, **right}, left={**POSE, **left}), 0)
        assert sample is not None and sample.clutch == clutch and sample.gripper == pytest.approx(gripper, abs=1e-4)
    alone = hand.sample(read(right={**POSE, **pinched}), 0)
    assert alone is not None and not alone.clutch, "nobody holds it"


def test_a_hand_that_holds_the_clutch_and_goes_out_of_sight_has_not_let_go() -> None:
    hand = TrackedHand(WebXr(Address.parse("webxr")), Address.parse("webxr"), (0.0, 0.04))
    pinched = {"thumb": [0, 1, 0], "index": [0, 1.015, 0]}
    both = read(right=POSE, left={**POSE, **pinched})
    for unseen in (read(right=POSE), read(right=POSE, left=POSE)):
        held = hand.sample(both, 0)
        assert held is not None and held.clutch
        assert hand.sample(unseen, 1) is None, "nobody knows whether it still holds it"
    controller = {**POSE, "squeeze": 1, "trigger": 0.0}
    held = hand.sample(read(right=controller), 2)
    assert held is not None and held.clutch, "a controller holds its own"
    let_go = hand.sample(read(right={**controller, "squeeze": 0}), 3)
    assert let_go is not None and not let_go.clutch


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{}", '{"type": "pose"}', '{"type": "pose", "n": 1, "t": 1, "hands": {"right": {"p": [1, 2], "q": []}}}']
    + ['{"type": "pose", "n": true, "t": 1, "hands": {}}', '{"type": "pose", "n": 1, "t": NaN, "hands": {}}']
    + [json.dumps({"type": "pose", "n": 1, "t": 0, "hands": {"right": {**POSE, "q": [0, 0, 0, 0]}}})]
    + [json.dumps({"type": "pose", "n": 1, "t": 0, "hands": {"right": {**POSE, "trigger": 2}}}), "[" * 10_000],
)
def test_what_is_no_message_of_the_page_is_refused(text: str) -> None:
    with pytest.raises(DeviceError, match="no message of the page"):
        parse_message(text, AXES)


NUMBERS = st.floats(-5.0, 5.0)


@settings(deadline=None)
@given(place=st.tuples(NUMBERS, NUMBERS, NUMBERS), turn=st.tuples(NUMBERS, NUMBERS, NUMBERS), t=st.floats(0, 1e9))
def test_a_pose_comes_back_as_it_was(
    place: tuple[float, float, float], turn: tuple[float, float, float], t: float
) -> None:
    wanted = np.array([*place, *Rotation.from_rotvec(turn).as_quat()])
    sent = AXES.back(wanted).tolist()
    text = json.dumps({"type": "pose", "n": 3, "t": t, "hands": {"phone": {"p": sent[:3], "q": sent[3:]}}})
    message = parse_message(text, AXES)
    assert message.tracked is not None and message.time == t / 1e3
    pose = message.tracked.poses["phone"]
    assert pose[:3] == pytest.approx(wanted[:3]) and abs(pose[3:] @ wanted[3:]) == pytest.approx(1.0)


def test_a_mistyped_host_is_named() -> None:
    with pytest.raises(DeviceError, match="'b\u00f6x' is no host's name or address, want webxr://0.0.0.0:8443"):
        WebXr(Address.parse("webxr://b\u00f6x:8443"))


@pytest.fixture
def headset() -> Iterator[WebXrEmulator]:
    with WebXrEmulator() as emulator:
        yield emulator


def test_the_headsets_poses_come_with_its_own_time(headset: WebXrEmulator, tmp_path: Path) -> None:
    headset.hand.amplitude = headset.hand.swing = 0.0
    with running("tracker", f"{headset.address}&cert={tmp_path}") as device:
        reading = device.more()
        assert reading.value.poses["right"] == pytest.approx(headset.hand.at(0))
        assert reading.device_time is not None and reading.value.values["right clutch"] == 1.0
        assert device.stamps == sorted(device.stamps)


@pytest.mark.parametrize(
    "fault, words",
    [
        ("silence", "the page sends nothing; press Start"),
        ("garbage", "nothing"),
        ("unplug", "the page was closed; open"),
    ],
)
def test_a_page_that_is_closed_or_sends_nothing_is_told_and_comes_back(
    headset: WebXrEmulator, tmp_path: Path, fault: str, words: str
) -> None:
    with running("tracker", f"{headset.address}&cert={tmp_path}") as device:
        device.more()
        headset.fault = fault
        device.problem(words)
        headset.fault = "none"
        device.recovered()
        device.more()


def test_a_hand_out_of_sight_is_told(headset: WebXrEmulator, tmp_path: Path) -> None:
    address = f"{headset.address}&cert={tmp_path}"
    hand = TrackedHand(WebXr(Address.parse(address)), Address.parse(address))
    hand.open()
    try:
        headset.hand.seen = False
        with pytest.raises(DeviceError, match="'right' is not tracked; bring it into view"):
            wait_until(lambda: hand.read(0.1) is Ellipsis, what="the hand to be lost")
    finally:
        hand.close()
        hand.end()


def test_only_who_knows_the_token_gets_the_page(tmp_path: Path) -> None:
    device = WebXr(Address.parse(f"webxr://127.0.0.1:0?token=secret&cert={tmp_path}"))
    with pytest.raises(DeviceError, match=r"no page is open; open https://127.0.0.1:\d+/\?token=secret in"):
        device.open()
    try:
        trusted = ssl.create_default_context(cafile=tmp_path / "vla_ros.pem")
        port = int(device.url.split(":")[2].split("/")[0])

        def get(path: str) -> tuple[int, str]:
            connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=trusted)
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()

        assert get("/")[0] == get("/?token=guessed")[0] == get("/stream")[0] == 403
        assert get("/other?token=secret")[0] == 404
        status, page = get("/?token=secret")
        assert status == 200 and "requestSession" in page
    finally:
        device.close()
        device.end()


def test_a_second_page_is_turned_away(headset: WebXrEmulator, tmp_path: Path) -> None:
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    with running("tracker", f"{headset.address}&cert={tmp_path}") as device:
        device.more()
        trusted = ssl.create_default_context(cafile=tmp_path / "vla_ros.pem")
        uri = f"wss://127.0.0.1:{headset.port}/stream?token=emulated"
        with connect(uri, ssl=trusted, proxy=None) as page, pytest.raises(ConnectionClosed, match="another page leads"):
            page.recv(timeout=30)
        device.more()


def test_the_certificate_is_kept_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    from vla_ros.drivers.certificate import tls_context

    tls_context(tmp_path, ("localhost", "127.0.0.1"))
    file = tmp_path / "vla_ros.pem"
    made = file.read_bytes()
    assert file.stat().st_mode & 0o077 == 0
    tls_context(tmp_path, ("localhost",))
    assert file.read_bytes() == made
    tls_context(tmp_path, ("localhost", "192.168.7.7"))
    assert file.read_bytes() != made, "a machine of another address needs another"
    file.write_text("rubbish")
    tls_context(tmp_path, ("localhost",))
