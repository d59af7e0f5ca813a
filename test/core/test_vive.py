"""Vive trackers by Valve's own OpenVR library, before an emulated SteamVR: poses, and what goes wrong."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from device_support import running
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_support import wait_until
from scipy.spatial.transform import Rotation
from vive_support import steamvr_or_skip

from vla_ros.drivers.address import Address
from vla_ros.drivers.vive import POSE, RUNNING_OK, Vive
from vla_ros.drivers.vive_client import STEAMVR, Device, load_openvr
from vla_ros.emulators.vive import CONTROLLER, HEADSET, STATION, TRACKER, ViveEmulator
from vla_ros.errors import DeviceError
from vla_ros.teleop.tracked_hand import TrackedHand

SOMEWHERE = np.array([0.4, -0.3, 1.2, *Rotation.from_euler("xyz", [0.3, -0.5, 1.9]).as_quat()])


@pytest.fixture
def steamvr() -> Iterator[ViveEmulator]:
    """A SteamVR that runs."""
    steamvr_or_skip()
    with ViveEmulator() as emulator:
        yield emulator


def driver(text: str) -> Vive:
    return Vive(Address.parse(text))


def told(matrix: object, result: int = RUNNING_OK, valid: int = 1, connected: int = 1) -> bytes:
    record = np.zeros(1, POSE)
    record["matrix"][0], record["result"], record["valid"], record["connected"] = matrix, result, valid, connected
    return record.tobytes()


def before_poses() -> Vive:
    """A driver that knows one tracker, and is fed by hand."""
    device = driver("vive://")
    device._devices = {0: Device(TRACKER, "tracker")}
    return device


def written(emulator: ViveEmulator) -> None:
    """Wait until what was set is where the runtime reads it."""
    known = emulator.number
    wait_until(lambda: emulator.number > known + 1, what="the emulator to write")


def same(pose: np.ndarray, wanted: np.ndarray) -> bool:
    turn = Rotation.from_quat(pose[3:]) * Rotation.from_quat(wanted[3:]).inv()
    return bool(np.abs(pose[:3] - wanted[:3]).max() < 1e-6 and turn.magnitude() < 1e-5)


def test_a_pose_record_is_laid_out_as_the_binding_has_it() -> None:
    steamvr_or_skip()
    wanted = load_openvr().TrackedDevicePose_t
    assert ctypes.sizeof(wanted) == POSE.itemsize
    names = {"matrix": "mDeviceToAbsoluteTracking", "result": "eTrackingResult"}
    names |= {"valid": "bPoseIsValid", "connected": "bDeviceIsConnected"}
    assert all(POSE.fields[ours][1] == getattr(wanted, theirs).offset for ours, theirs in names.items())


def test_y_up_becomes_z_up() -> None:
    quarter = [[0.0, 0.0, 1.0, 1.0], [0.0, 1.0, 0.0, 2.0], [-1.0, 0.0, 0.0, 3.0]]  # about the vertical
    reading = before_poses().take(told(quarter), 7)
    assert reading is not None and reading.arrival == 7 and reading.device_time is None
    half = np.sqrt(0.5)
    turned = Rotation.from_quat([0, 0, half, half]) * Rotation.from_euler("x", 90, degrees=True)
    assert same(reading.value.poses[TRACKER], np.array([1.0, -3.0, 2.0, *turned.as_quat()]))


@pytest.mark.parametrize("yaw", [0.0, 90.0])
def test_the_driver_tells_where_the_devices_are(steamvr: ViveEmulator, yaw: float) -> None:
    steamvr.hand.pose = SOMEWHERE
    written(steamvr)
    with running("tracker", f"{steamvr.address}&yaw={yaw}") as device:
        poses = device.more().value.poses
        assert set(poses) == {TRACKER, CONTROLLER}, f"neither {HEADSET} nor {STATION}"
        turn = Rotation.from_euler("z", yaw, degrees=True)
        wanted = [*turn.apply(SOMEWHERE[:3]), *(turn * Rotation.from_quat(SOMEWHERE[3:])).as_quat()]
        assert all(same(pose, np.array(wanted)) for pose in poses.values())


def test_a_sample_holds_for_the_moment_at_which_it_is_stamped(steamvr: ViveEmulator) -> None:
    steamvr.hand.amplitude, steamvr.hand.frequency = 0.1, 1.0
    with running("tracker", steamvr.address) as device:
        device.more(50)
        late = [
            np.linalg.norm(steamvr.hand.at(stamp)[:3] - reading.value.poses[TRACKER][:3])
            for stamp, reading in zip(device.stamps, device.readings, strict=False)
        ]
        assert np.median(late) < 0.01  # [m] at 0.6 m/s, told each 4 ms on a busy machine
        assert 50 < device.statistics.rate < 110


def test_a_device_that_steamvr_does_not_know_is_named_with_those_it_knows(steamvr: ViveEmulator) -> None:
    with pytest.raises(DeviceError, match="unknown body 'LHR-9'.*; valid: LHR-00000001, LHR-00000002"):
        driver(f"vive://?body=LHR-9&paths={steamvr.paths}").open()


def test_without_a_body_the_only_tracker_is_the_hand_and_of_two_one_has_to_be_said(steamvr: ViveEmulator) -> None:
    address = Address.parse(f"vive://?paths={steamvr.paths}")
    with pytest.raises(DeviceError, match=r"which is the hand\? Say body= one of LHR-00000001, LHR-00000002"):
        TrackedHand(Vive(address), address).open()
    steamvr.serials = (HEADSET, STATION, TRACKER)
    written(steamvr)
    hand = TrackedHand(Vive(address), address)
    hand.open()
    reading = hand.read(1.0)
    assert reading is not None and reading.value.pose is not None
    hand.close()


def test_where_no_tracker_is_on_what_there_is_is_told(steamvr: ViveEmulator) -> None:
    steamvr.serials = (HEADSET, STATION)
    written(steamvr)
    with running("tracker", f"vive://?paths={steamvr.paths}") as device:
        device.problem(f"no tracker or controller is on; SteamVR has: headset {HEADSET}, base station {STATION}")
        steamvr.serials = (HEADSET, STATION, TRACKER)
        device.more()
        steamvr.serials = (HEADSET, STATION, TRACKER, CONTROLLER)  # a tracker that is switched on later
        wait_until(lambda: CONTROLLER in device.readings[-1].value.poses, what="the controller")


def test_out_of_sight_a_guess_of_steamvr_is_not_passed_on(steamvr: ViveEmulator) -> None:
    with running("tracker", steamvr.address) as device:
        device.more()
        steamvr.hand.seen = False
        device.problem(f"'{TRACKER}' is not tracked: out of sight; bring it before the base stations (tracked: none)")
        steamvr.hand.seen = True
        device.recovered()


@pytest.mark.parametrize(
    "fault, words",
    [
        ("silence", "switched off, or away from its dongle"),
        ("garbage", "its poses are broken"),
        ("partial", "its poses are broken"),
        ("unplug", "SteamVR is not running (Init_NoServerForBackgroundApp)"),
    ],
)
def test_what_is_wrong_is_told_and_it_comes_back(steamvr: ViveEmulator, fault: str, words: str) -> None:
    with running("tracker", steamvr.address) as device:
        device.more()
        steamvr.fault = fault
        device.problem(words)
        assert (device.statistics.rejected > 0) == (fault in ("garbage", "partial"))
        steamvr.fault = "none"
        device.recovered()
        device.more()
    if fault == "unplug":
        assert "vive: SteamVR has ended; start it again" in device.problems


def test_a_low_battery_is_told(steamvr: ViveEmulator) -> None:
    steamvr.battery = 0.12
    with running("tracker", steamvr.address) as device:
        wait_until(lambda: f"'{TRACKER}': low battery, less than 15%" in device.statistics.flags, what="the battery")


def test_a_controllers_trigger_and_buttons_are_told(steamvr: ViveEmulator) -> None:
    steamvr.hand.pinch = 0.25
    written(steamvr)
    address = Address.parse(f"vive://?body={CONTROLLER}&paths={steamvr.paths}")
    hand = TrackedHand(Vive(address), address, gripper=(0.0, 0.04))
    hand.open()
    wait_until(lambda: (read := hand.read(0.1)) is not None and read.value.clutch, what="the clutch")
    read = hand.read(1.0)
    assert read is not None and read.value.gripper == pytest.approx(0.03)
    steamvr.hand.held = False
    wait_until(lambda: (read := hand.read(0.1)) is not None and not read.value.clutch, what="the clutch let go")
    hand.close()


def test_two_drivers_share_openvr_and_the_last_shuts_it_down(steamvr: ViveEmulator) -> None:
    one, two = driver(steamvr.address), driver(f"vive://?body={CONTROLLER}&paths={steamvr.paths}")
    one.open()
    two.open()
    with ViveEmulator() as other:
        with pytest.raises(DeviceError, match=r"vive: paths is '.*', and OpenVR is in use here with '.*'"):
            driver(other.address).open()
        one.close()
        one.close()
        assert two.read(1.0) is not None
        with pytest.raises(DeviceError, match="not open"):
            one.read(1.0)
        two.close()
        third = driver(other.address)
        third.open()
        third.close()
    assert not STEAMVR._users


def test_when_steamvr_ends_both_drivers_say_so_and_both_come_back(steamvr: ViveEmulator) -> None:
    with (
        running("tracker", steamvr.address) as one,
        running("tracker", f"vive://?body={CONTROLLER}&paths={steamvr.paths}") as two,
    ):
        one.more()
        two.more()
        steamvr.stop()
        one.problem("SteamVR is not running", '"requireHmd": false')
        two.problem("SteamVR is not running")
        steamvr.start()
        one.recovered()
        two.recovered()
        one.more()
        two.more()


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "openvr", None)
    with pytest.raises(DeviceError, match="^vive: needs the Python package 'openvr': pip install openvr$"):
        driver("vive://").open()


def test_the_missing_compiler_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    steamvr_or_skip()
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DeviceError, match="^emulated vive: no C compiler 'cc' in PATH"):
        ViveEmulator().start()


def test_the_missing_steamvr_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    steamvr_or_skip()
    paths = tmp_path / "openvrpaths.vrpath"
    for found in ("", json.dumps({"runtime": [str(tmp_path)], "config": ["/"], "log": ["/"]})):
        if found:
            paths.write_text(found)
        with pytest.raises(DeviceError, match=rf"^vive: no SteamVR by {paths} \(Init_\w+\); install it with Steam"):
            driver(f"vive://?paths={paths}").open()


def test_a_serial_number_in_the_place_of_the_host_is_refused() -> None:
    with pytest.raises(DeviceError, match=r"want vive://\?body=LHR-1234ABCD"):
        driver("vive://LHR-1234ABCD")


def test_a_controller_whose_buttons_are_told_no_longer_has_not_let_go(steamvr: ViveEmulator) -> None:
    name = f"{CONTROLLER} clutch"
    steamvr.buttons = False
    written(steamvr)
    with running("tracker", f"vive://?body={CONTROLLER}&paths={steamvr.paths}") as device:
        assert name not in device.more().value.values
        steamvr.buttons = True
        wait_until(lambda: device.readings[-1].value.values.get(name) == 1.0, what="the clutch held")
        steamvr.buttons = False
        device.problem(CONTROLLER, "tells its buttons no longer")
        assert all(reading.value.values.get(name, 1.0) == 1.0 for reading in device.readings)
        steamvr.buttons = True
        device.more()


@pytest.mark.parametrize("state", [{"result": 201}, {"result": 300}, {"valid": 0}, {"connected": 0}])
def test_what_is_not_wholly_tracked_is_left_out(state: dict[str, int]) -> None:
    device = before_poses()
    assert device.take(told(np.eye(3, 4), **state), 0) is None
    assert device.rejected == 0


@settings(deadline=None)
@given(numbers=st.lists(st.floats(width=32), min_size=12, max_size=12))
def test_no_garbage_is_taken_for_a_rotation(numbers: list[float]) -> None:
    device, matrix = before_poses(), np.array(numbers).reshape(3, 4)
    reading = device.take(told(matrix), 0)
    turn = matrix[:, :3]
    if np.isfinite(matrix).all() and np.abs(turn @ turn.T - np.eye(3)).max() < 1e-3 and np.abs(matrix).max() < 99.0:
        assert (reading is None) == (np.linalg.det(turn) < 0.0)
    if reading is None:
        assert device.rejected == 1
    else:
        assert np.isfinite(reading.value.poses[TRACKER]).all()


@settings(deadline=None)
@given(angles=st.lists(st.floats(-3.0, 3.0), min_size=3, max_size=3), mirrored=st.booleans())
def test_every_rotation_is_taken_and_no_reflection(angles: list[float], mirrored: bool) -> None:
    turn = Rotation.from_euler("xyz", angles)
    matrix = turn.as_matrix() * (-1.0 if mirrored else 1.0)
    reading = before_poses().take(told(np.hstack([matrix, np.ones((3, 1))])), 0)
    assert (reading is None) == mirrored
    if reading is not None:
        wanted = Rotation.from_euler("x", 90, degrees=True) * turn
        assert (Rotation.from_quat(reading.value.poses[TRACKER][3:]) * wanted.inv()).magnitude() < 1e-5


def test_steamvr_is_asked_as_often_as_the_address_says(steamvr: ViveEmulator) -> None:
    device = driver(f"{steamvr.address}&rate=20")
    device.open()
    begin = time.monotonic()
    assert [device.read(1.0) is not None for _ in range(5)] == [True] * 5
    assert time.monotonic() - begin > 0.15
    assert device.read(0.0) is None
    device.close()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_ended_emulator_leaves_nothing_behind(tmp_path: Path, number: signal.Signals) -> None:
    steamvr_or_skip()
    command = [sys.executable, "-m", "vla_ros.cli", "emulate", "vive"]
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    emulator = subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert emulator.stdout is not None
    assert emulator.stdout.readline().startswith(b"vive at vive://")
    assert list(tmp_path.iterdir())
    emulator.send_signal(number)
    assert emulator.wait(60) == 130
    assert not list(tmp_path.iterdir())
