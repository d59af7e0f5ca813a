"""OptiTrack by NatNet: the driver, and the emulator as an independent client sees it."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator

import numpy as np
import pytest
from device_support import running
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_support import wait_until
from scipy.spatial.transform import Rotation

from vla_ros.drivers import natnet_wire as wire
from vla_ros.drivers.address import Address
from vla_ros.drivers.natnet import NatNet
from vla_ros.drivers.tracked import Axes, Tracked
from vla_ros.emulators.hand import LOWER, SHOULDER, UPPER
from vla_ros.emulators.natnet import NatNetEmulator
from vla_ros.errors import DeviceError
from vla_ros.teleop.tracked_hand import TrackedHand

GROUP = "239.255.42.99"
ENDS = (0.0, 0.04)


def free_port() -> int:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def need_multicast() -> None:
    """Skip where the loopback interface carries no multicast, as in some containers."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth,
    ):
        try:
            ear.bind((GROUP, 0))
            ear.settimeout(2.0)
            member = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
            ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
            mouth.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
            mouth.sendto(b"heard", (GROUP, ear.getsockname()[1]))
            ear.recv(10)
        except OSError as error:
            pytest.skip(f"no multicast on the loopback interface: {error}")


@pytest.fixture(params=["unicast", "multicast"])
def motive(request: pytest.FixtureRequest) -> Iterator[NatNetEmulator]:
    if request.param == "multicast":
        need_multicast()
    with NatNetEmulator(group=GROUP if request.param == "multicast" else "", data_port=free_port()) as emulator:
        yield emulator


def bare(emulator: NatNetEmulator) -> str:
    return f"natnet://127.0.0.1:{emulator.port}"


def same(pose: np.ndarray, wanted: np.ndarray) -> bool:
    turn = (Rotation.from_quat(pose[3:]) * Rotation.from_quat(wanted[3:]).inv()).magnitude()
    return bool(np.abs(pose[:3] - wanted[:3]).max() < 1e-6 and turn < 1e-5)


def test_the_driver_tells_where_the_rigid_bodies_were_when_the_cameras_saw_them(motive: NatNetEmulator) -> None:
    with running("tracker", bare(motive)) as device:
        reading = device.more()
        exposed = motive.frames[reading.sequence or -1]
        assert set(reading.value.poses) == {"Hand", "Thumb", "Index", "Elbow", "Shoulder"}
        assert same(reading.value.poses["Hand"], motive.hand.at(exposed))
        assert reading.flags == ()
        assert exposed <= device.stamps[-1], "only the way through the network is later"


@pytest.mark.parametrize("version", [(3, 0), (4, 0), (4, 1), (4, 2)])
def test_every_version_from_3_on_is_read(version: tuple[int, int]) -> None:
    with NatNetEmulator(version=version) as motive, running("tracker", bare(motive)) as device:
        reading = device.more(1)
        assert same(reading.value.poses["Hand"], motive.hand.at(motive.frames[reading.sequence or -1]))
        assert device.statistics.rejected == 0


def test_an_independent_client_sees_the_emulator_as_it_is(motive: NatNetEmulator) -> None:
    natnet = pytest.importorskip("natnet", reason="pip install natnet")
    frames, models = [], []
    multicast = bool(motive.group)
    client = natnet.NatNetClient(
        "127.0.0.1", "127.0.0.1", GROUP, motive.port, motive.data_port, use_multicast=multicast
    )
    client.on_data_frame_received_event.handlers.append(frames.append)
    client.on_data_description_received_event.handlers.append(models.append)
    with client:
        assert client.server_info.application_name == "Emulated Motive"
        assert str(client.server_info.nat_net_protocol_version).startswith("4.1")

        def heard() -> bool:
            if not models:
                client.request_modeldef()
            client.update_sync()
            return bool(frames and models)

        wait_until(heard, what="a frame and the models")
    assert [body.name for body in models[0].rigid_bodies] == ["Hand", "Thumb", "Index", "Elbow", "Shoulder"]
    assert [marker.name for marker in models[0].rigid_bodies[0].markers] == ["Marker 1", "Marker 2", "Marker 3"]
    frame = frames[-1]
    body = frame.rigid_bodies[0]
    assert (body.id_num, body.tracking_valid) == (1, True)
    pose = Axes("y")(body.pos, body.rot)
    assert same(pose, motive.hand.at(motive.frames[frame.prefix.frame_number]))
    assert [marker.id_num for marker in frame.labeled_markers] == [1 << 16 | 1]
    assert frame.suffix.stamp_transmit - frame.suffix.stamp_camera_mid_exposure == 40_000


def test_a_hand_out_of_sight_gives_nothing_and_is_told(motive: NatNetEmulator) -> None:
    address = Address.parse(motive.address)
    hand = TrackedHand(NatNet(address_of_tracker(motive)), address, ENDS)
    hand.open()
    try:
        wait_until(lambda: hand.read(0.1) is not None, what="the hand")
        motive.hand.seen = False
        with pytest.raises(DeviceError, match="'Hand' is not tracked; bring it into view"):
            wait_until(lambda: hand.read(0.1) is Ellipsis, what="the hand to be lost")
    finally:
        hand.close()


def address_of_tracker(motive: NatNetEmulator) -> Address:
    return Address.parse(bare(motive))


def test_thumb_and_index_finger_close_the_gripper(motive: NatNetEmulator) -> None:
    address = Address.parse(motive.address + "&closed=0.01&open=0.09")
    hand = TrackedHand(NatNet(address_of_tracker(motive)), address, ENDS)
    hand.open()

    def grips(opening: float) -> bool:
        reading = hand.read(0.1)
        return reading is not None and reading.value.gripper == pytest.approx(opening, abs=1e-6)

    try:
        for pinch, opening in ((0.0, 0.04), (0.5, 0.04 * 35 / 80), (1.0, 0.0)):
            motive.hand.pinch = pinch
            wait_until(lambda: grips(opening), what=f"a gripper {opening} m open")  # noqa: B023
    finally:
        hand.close()


def test_a_position_alone_is_followed_where_that_is_asked_for(motive: NatNetEmulator) -> None:
    turned = Tracked({"Hand": np.array([0.1, 0.2, 0.3, 0.0, 0.6, 0.0, 0.8])})
    for follow, quaternion in (("pose", [0.0, 0.6, 0.0, 0.8]), ("position", [0.0, 0.0, 0.0, 1.0])):
        address = Address.parse(f"{motive.address}&follow={follow}")
        sample = TrackedHand(NatNet(address_of_tracker(motive)), address, ENDS).sample(turned, 5)
        assert sample is not None and sample.pose is not None and sample.stamp == 5
        assert sample.pose.tolist() == [0.1, 0.2, 0.3, *quaternion]


def test_shoulder_and_elbow_are_told_where_the_arms_shape_is_followed(motive: NatNetEmulator) -> None:
    address = Address.parse(f"{bare(motive)}?body=Hand&follow=arm&shoulder=Shoulder&elbow=Elbow")
    hand = TrackedHand(NatNet(address_of_tracker(motive)), address)
    hand.open()
    try:
        sample = wait_until(lambda: hand.read(0.1), what="the hand")
        assert sample.value.arm is not None and sample.value.pose is not None
        shoulder, elbow, palm = sample.value.arm
        assert shoulder == pytest.approx(SHOULDER, abs=1e-6)
        assert [np.linalg.norm(elbow - end) for end in (shoulder, palm)] == pytest.approx([UPPER, LOWER], abs=1e-5)
        assert palm.tolist() == sample.value.pose[:3].tolist()
        seen = Tracked({name: np.array([0.1, 0.2, 0.3, 0, 0, 0, 1.0]) for name in ("Hand", "Elbow")})
        partly = hand.sample(seen, 6)
        assert partly is not None and partly.pose is not None and partly.arm is None, "never a shape that is not seen"
    finally:
        hand.close()


@pytest.mark.parametrize(
    "options, words", [("follow=arm", "unknown body 'shoulder'"), ("elbow=Thumb", "elbow is for follow=arm")]
)
def test_an_arm_of_which_too_little_is_tracked_is_refused(motive: NatNetEmulator, options: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words):
        address = Address.parse(f"{bare(motive)}?body=Hand&{options}")
        TrackedHand(NatNet(address_of_tracker(motive)), address).open()


@pytest.mark.parametrize(
    "options, words",
    [("body=Foot", "Foot.*Elbow, Hand, Index, Shoulder, Thumb"), ("", "Say body= one of Hand")],
)
def test_a_hand_that_motive_does_not_know_is_refused(options: str, words: str) -> None:
    with NatNetEmulator() as motive:
        tracker = NatNet(address_of_tracker(motive))
        with pytest.raises(DeviceError, match=words):
            TrackedHand(tracker, Address.parse(f"natnet://127.0.0.1?{options}" if options else "natnet")).open()


@pytest.mark.parametrize("fault, words", [("silence", "silent"), ("garbage", "nothing valid"), ("unplug", "natnet")])
def test_what_is_wrong_with_the_server_is_told_and_it_comes_back(fault: str, words: str) -> None:
    with NatNetEmulator() as motive, running("tracker", bare(motive)) as device:
        device.more()
        motive.fault = fault
        device.problem(words)
        motive.fault = "none"
        device.recovered()
        device.more()


@pytest.fixture
def stranger() -> Iterator[NatNetEmulator]:
    """Another Motive in the same group, whose hand is elsewhere."""
    need_multicast()
    with NatNetEmulator(group=GROUP, data_port=free_port(), sender="127.0.0.2") as emulator:
        emulator.hand.pose = np.array([7.0, 7.0, 7.0, 0.0, 0.0, 0.0, 1.0])
        yield emulator


def test_another_motive_in_the_same_group_moves_nothing(stranger: NatNetEmulator) -> None:
    with (
        NatNetEmulator(group=GROUP, data_port=stranger.data_port) as motive,
        running("tracker", bare(motive)) as device,
    ):
        before = stranger.number
        wait_until(lambda: stranger.number > before + 20 and len(device.readings) > 20, what="frames of both")
        assert all(np.abs(reading.value.poses["Hand"][:3]).max() < 5.0 for reading in device.readings)
        motive.fault = "silence"
        device.problem("natnet 127.0.0.1: only 127.0.0.2 sends", "sender=127.0.0.2")
        count = len(device.readings)
        before = stranger.number
        wait_until(lambda: stranger.number > before + 20, what="further frames of the stranger")
        assert len(device.readings) == count
        motive.fault = "none"
        device.recovered()


def test_a_motive_that_sends_from_another_of_its_addresses_is_let_in_on_request(stranger: NatNetEmulator) -> None:
    with running("tracker", bare(stranger)) as device:
        device.problem("natnet 127.0.0.1: only 127.0.0.2 sends; if that is Motive's machine too, say sender=127.0.0.2")
        assert not device.readings
    with running("tracker", f"{bare(stranger)}?sender=127.0.0.2") as device:
        assert device.more().value.poses["Hand"][:3] == pytest.approx([7.0, 7.0, 7.0])


@pytest.mark.parametrize("address, bad", [("192.168..5", "192.168..5"), ("127.0.0.1:9?sender=10..1", "10..1")])
def test_a_mistyped_host_is_named(address: str, bad: str) -> None:
    with pytest.raises(DeviceError, match=f"natnet [^ ]+ '{bad}' is no host's name or address, want .*192.168.1.5"):
        NatNet(Address.parse(f"natnet://{address}")).open()


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(DeviceError, match=r"natnet 127.0.0.1:9.*Broadcast Frame Data"):
        NatNet(Address.parse("natnet://127.0.0.1:9")).open()


FLOATS = st.floats(-10.0, 10.0, width=32)
BODIES = st.lists(st.tuples(st.integers(1, 1000), st.tuples(FLOATS, FLOATS, FLOATS), st.booleans()), max_size=8)


@settings(deadline=None)
@given(bodies=BODIES, sized=st.booleans(), number=st.integers(0, 2**31 - 1), markers=st.integers(0, 5))
def test_a_frame_of_any_bodies_is_read(
    bodies: list[tuple[int, tuple[float, float, float], bool]], sized: bool, number: int, markers: int
) -> None:
    content = b"".join(wire.BODY.pack(i, *place, 0, 0, 0, 1, 1e-4, tracked) for i, place, tracked in bodies)
    sections = [(0, b""), (markers, bytes(12 * markers)), (len(bodies), content)] + [(0, b"")] * (5 if sized else 4)
    data = struct.pack("<i", number)
    for count, piece in sections:
        data += struct.pack("<i", count) + (struct.pack("<i", len(piece)) if sized else b"") + piece
    data += wire.SUFFIX.pack(0, 0, 1.5, 10, 11, 12)
    frame = wire.parse_frame(data, (4, 1) if sized else (4, 0))
    assert (frame.number, frame.time, frame.exposed, frame.sent) == (number, 1.5, 10, 12)
    assert [(body.id, body.position, body.tracked) for body in frame.bodies] == bodies


def test_y_up_becomes_z_up_and_yaw_turns_about_it() -> None:
    up, east = [0.0, 1.0, 0.0], [1.0, 0.0, 0.0]
    assert Axes("y")(up, [0, 0, 0, 1])[:3] == pytest.approx([0, 0, 1])
    assert Axes("z")(east, [0, 0, 0, 1]).tolist() == [1, 0, 0, 0, 0, 0, 1]
    assert Axes("y", yaw=90.0)(east, [0, 0, 0, 1])[:3] == pytest.approx([0, 1, 0])
    assert Axes("-z forward")([0, 0, -1], [0, 0, 0, 1])[:3] == pytest.approx([1, 0, 0])
    assert Axes("-z forward")(east, [0, 0, 0, 1])[:3] == pytest.approx([0, -1, 0])
    turned = Axes("y", yaw=30.0)
    pose = np.array([0.1, 0.2, 0.3, *Rotation.from_rotvec([0.1, -0.4, 0.2]).as_quat()])
    back = turned.back(pose)
    assert same(turned(back[:3], back[3:]), pose)
