"""Emulated servo buses are held to the vendors' SDKs and the manuals; the leader arm's driver comes back from every fault."""

from __future__ import annotations

import json
import math
import queue
import random
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ros_support import wait_until
from servo_support import address, calibration

from vla_ros.drivers.address import Address
from vla_ros.drivers.stream import SensorStream
from vla_ros.emulators import make_emulator
from vla_ros.emulators.dynamixel import DynamixelEmulator, crc, packed, stuffed, unstuffed
from vla_ros.emulators.feetech import FeetechEmulator
from vla_ros.emulators.servos import ServoBusEmulator
from vla_ros.errors import DeviceError
from vla_ros.teleop.calibration import Calibration, ServoJoint
from vla_ros.teleop.device import TeleopSample
from vla_ros.teleop.servo_arm import DynamixelArm, FeetechArm, ServoArm
from vla_ros.teleop.servo_tables import DYNAMIXEL, FEETECH, Register, ServoTable

ARMS: dict[str, type[ServoArm]] = {"dynamixel": DynamixelArm, "feetech": FeetechArm}
TABLES = {"dynamixel": DYNAMIXEL, "feetech": FEETECH}


@pytest.fixture(params=sorted(ARMS))
def bus(request: pytest.FixtureRequest) -> Iterator[ServoBusEmulator]:
    emulator = make_emulator(request.param)
    assert isinstance(emulator, ServoBusEmulator)
    emulator.amplitude = 0.0
    with emulator:
        yield emulator


class Sdk:
    """The vendor's SDK on an emulated bus: an independent client."""

    def __init__(self, bus: ServoBusEmulator) -> None:
        self.table: ServoTable = TABLES[bus.name]
        self.module: Any = pytest.importorskip(self.table.sdk)
        self.port = self.module.PortHandler(bus.path)
        assert self.port.setBaudRate(1_000_000)
        self.packets = self.module.PacketHandler(self.table.protocol)

    def __enter__(self) -> Sdk:
        return self

    def __exit__(self, *error: object) -> None:
        self.port.closePort()


def driver(bus: ServoBusEmulator, file: Path, **options: object) -> ServoArm:
    return ARMS[bus.name](Address.parse(address(bus, file, **options)))


# The wire


def test_packets_are_those_of_the_manuals_examples() -> None:
    """e-Manual, Protocol 2.0, "Ping(0x01)": ID 1 instruction and status; Feetech's manual, "PING"."""
    ping = bytes.fromhex("FF FF FD 00 01 03 00 01 19 4E")
    assert packed(1, b"\x01") == ping
    assert packed(1, bytes.fromhex("55 00 06 04 26")) == bytes.fromhex("FF FF FD 00 01 07 00 55 00 06 04 26 65 5D")
    assert crc(ping[:-2]) == 0x4E19
    assert FeetechEmulator().answer(bytes.fromhex("FF FF 01 02 01 FB"))[0] == [bytes.fromhex("FF FF 01 02 00 FC")]


@given(st.lists(st.sampled_from([0x00, 0xFD, 0xFF]), max_size=40).map(bytes))
def test_stuffing_hides_every_header_and_is_undone(content: bytes) -> None:
    hidden = stuffed(content)
    assert b"\xff\xff\xfd\x00" not in hidden and b"\xff\xff\xfd\xff" not in hidden
    assert unstuffed(hidden) == content


def test_the_sdk_pings_reads_and_writes(bus: ServoBusEmulator) -> None:
    with Sdk(bus) as sdk:
        success, table = sdk.module.COMM_SUCCESS, sdk.table
        assert sdk.packets.ping(sdk.port, 3) == ({"dynamixel": 1200, "feetech": 777}[bus.name], success, 0)
        assert sdk.packets.ping(sdk.port, 30)[1] == sdk.module.COMM_RX_TIMEOUT
        assert sdk.packets.read1ByteTxRx(sdk.port, 3, table.torque.address) == (1, success, 0)
        assert sdk.packets.write1ByteTxRx(sdk.port, 3, table.torque.address, 0) == (success, 0)
        assert sdk.packets.read1ByteTxRx(sdk.port, 3, table.torque.address) == (0, success, 0)
        assert bus.servos[4].table[table.torque.address] == 1


def test_a_feetech_servos_position_begins_anew_after_a_turn() -> None:
    with FeetechEmulator(ids=(1,), amplitude=0.0) as bus, Sdk(bus) as sdk:
        for turned, offset, shown in ((4095, 0, 4095), (4096, 0, 0), (-1, 0, 4095), (10, 20, 4086), (4090, 0x814, 14)):
            bus.rest[1] = turned
            bus.servos[1].set(31, 2, offset)
            assert sdk.packets.read2ByteTxRx(sdk.port, 1, 56) == (shown, sdk.module.COMM_SUCCESS, 0)


def test_the_sdk_reads_and_writes_many_servos_at_once(bus: ServoBusEmulator) -> None:
    with Sdk(bus) as sdk:
        register, goal = sdk.table.position, {"dynamixel": (116, 4), "feetech": (42, 2)}[bus.name]
        bus.rest = {servo: 1000 + servo for servo in bus.rest}
        read = sdk.module.GroupSyncRead(sdk.port, sdk.packets, register.address, register.size)
        write = sdk.module.GroupSyncWrite(sdk.port, sdk.packets, *goal)
        for servo in bus.servos:
            assert read.addParam(servo) and write.addParam(servo, list((2000 + servo).to_bytes(goal[1], "little")))
        assert read.txRxPacket() == sdk.module.COMM_SUCCESS
        assert {s: read.getData(s, register.address, register.size) for s in bus.servos} == bus.rest
        assert write.txPacket() == sdk.module.COMM_SUCCESS
        wait_until(lambda: [s.get(*goal) for s in bus.servos.values()] == [2000 + servo for servo in bus.servos])


def test_dynamixel_servos_answer_a_broadcast_and_undo_the_stuffing_and_tell_errors() -> None:
    with DynamixelEmulator(ids=(1, 9), amplitude=0.0) as bus, Sdk(bus) as sdk:
        found, result = sdk.packets.broadcastPing(sdk.port)
        assert result == sdk.module.COMM_SUCCESS and found == {1: [1200, 46], 9: [1200, 46]}
        bus.rest[1] = 0x00FDFFFF  # on the wire FF FF FD 00: stuffed
        assert sdk.packets.read4ByteTxRx(sdk.port, 1, 132) == (0x00FDFFFF, sdk.module.COMM_SUCCESS, 0)
        assert sdk.packets.write1ByteTxRx(sdk.port, 1, 11, 4) == (sdk.module.COMM_SUCCESS, 7), "torque locks the EEPROM"
        assert sdk.packets.read1ByteTxRx(sdk.port, 1, 500)[2] == 7, "there is no such address"
        bus.servos[9].table[70] = 0b100000
        assert sdk.packets.ping(sdk.port, 9)[2] == 0x80, "the alert"
        assert sdk.packets.reboot(sdk.port, 9)[0] == sdk.module.COMM_SUCCESS
        assert sdk.packets.ping(sdk.port, 9)[2] == 0


@pytest.mark.parametrize("emulator", [DynamixelEmulator(), FeetechEmulator()], ids=lambda e: e.name)
@settings(deadline=None, max_examples=300)
@given(
    data=st.lists(st.binary(max_size=60) | st.sampled_from([b"\xff\xff\xfd\x00\x01\x04\x00", b"\xff\xff\x01\x04\x02"]))
)
def test_an_emulated_bus_survives_any_bytes(emulator: ServoBusEmulator, data: list[bytes]) -> None:
    rest = b""
    for part in data:
        answers, rest = emulator.answer(rest + part)
        assert len(rest) < 1100 and all(isinstance(answer, bytes) for answer in answers)


@pytest.mark.parametrize(
    ("register", "data", "value"),
    [
        (Register(0, 2), b"\x01\x02", 0x201),
        (Register(0, 4, -1), b"\xff\xff\xff\xff", -1),
        (Register(0, 2, 15), b"\x05\x80", -5),
        (Register(0, 2, 11), b"\x05\x08", -5),
        (Register(0, 2, 11), b"\x05\x00", 5),
    ],
)
def test_a_register_knows_its_sign(register: Register, data: bytes, value: int) -> None:
    assert register.value(data) == value


# The driver


def test_the_joints_are_read_and_the_torque_is_off(bus: ServoBusEmulator, tmp_path: Path) -> None:
    arm = driver(bus, calibration(tmp_path / "leader.yaml"))
    bus.rest |= {2: 2048 + 1024, 7: 2000}
    arm.open()
    reading = arm.read(1.0)
    arm.close()
    assert reading is not None and reading.flags == () and arm.rejected == 0
    expected = dict.fromkeys(arm.calibration.joints, 0.0) | {"shoulder_lift": 1.5708, "gripper": 0.02}
    assert reading.value.joints == pytest.approx(expected, abs=1e-4)
    assert [servo.table[arm.table.torque.address] for servo in bus.servos.values()] == [0] * 7


def read_until(arm: ServoArm, wanted: str) -> None:
    for _ in range(2000):
        reading = arm.read(1.0)
        if reading is not None and wanted in " ".join(reading.flags):
            return
    raise AssertionError(f"no flag '{wanted}'")


def test_low_voltage_and_faults_are_told(bus: ServoBusEmulator, tmp_path: Path) -> None:
    arm = driver(bus, calibration(tmp_path / "leader.yaml"), rate=1000)
    arm.open()
    voltage, status = arm.table.voltage, arm.table.status
    bus.servos[3].set(voltage.address, voltage.size, 31)
    read_until(arm, "servo 3: low voltage, 3.1 V of")
    bus.servos[5].table[status.address] = 0b100000
    read_until(arm, "servo 5: overload error")
    arm.close()


def test_what_is_wrong_is_said_in_one_line(bus: ServoBusEmulator, tmp_path: Path) -> None:
    file = calibration(tmp_path / "leader.yaml", homing_offset=0)
    bus.servos[2].table[TABLES[bus.name].homing.address] = 5
    wrong = driver(bus, file)
    with pytest.raises(
        DeviceError, match=r"servo 2 \('shoulder_lift'\) has homing offset 5, .*says 0: it is another arm's"
    ):
        wrong.open()
    wrong.close()
    arm = driver(bus, file, homing="ignore")
    arm.open()
    with pytest.raises(DeviceError, match="cannot open: .*; another program has it open"):
        driver(bus, file, homing="ignore").open()
    arm.close()
    bus.servos.pop(6)
    bus.rest.pop(6)
    with pytest.raises(DeviceError, match="no answer from servo 6 at 1000000 baud; these answer: 1, 2, 3, 4, 5, 7"):
        arm.open()
    arm.close()


def test_two_servos_of_one_id_are_found_out(bus: ServoBusEmulator, tmp_path: Path) -> None:
    arm = driver(bus, calibration(tmp_path / "leader.yaml"))
    arm.open()
    bus.doubled = 4
    with pytest.raises(DeviceError, match="servo 4 answers garbage: a loose cable, or two servos with the id 4"):
        for _ in range(100):
            arm.read(1.0)
    arm.close()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dynamixel://", "no port; want dynamixel:///dev/ttyUSB0"),
        ("dynamixel:///dev/ttyUSB0", "no calibration; make one with 'vla-ros calibrate leader"),
        ("dynamixel:///dev/ttyUSB0?speed=3", "unknown option 'speed'"),
        ("dynamixel:///dev/ttyUSB0?calibration=nowhere.yaml", "calibration 'nowhere.yaml': No such file"),
        ("dynamixel:///dev/none?calibration={file}&baud=12345", "knows no baud rate 12345"),
        (
            "dynamixel:///dev/none?calibration={file}",
            "/dev/none: cannot open: .*; there is no such port now; serial ports here: .*; plug it in",
        ),
    ],
)
def test_a_wrong_address_is_answered_with_what_to_do(text: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(DeviceError, match=message):
        DynamixelArm(Address.parse(text.replace("{file}", str(calibration(tmp_path / "leader.yaml"))))).open()


@pytest.mark.parametrize("fault", ["silence", "garbage", "partial", "unplug"])
def test_a_stream_of_an_arm_comes_back_from_every_fault(bus: ServoBusEmulator, fault: str, tmp_path: Path) -> None:
    samples: queue.SimpleQueue[TeleopSample] = queue.SimpleQueue()
    problems: queue.SimpleQueue[str] = queue.SimpleQueue()
    arm = driver(bus, calibration(tmp_path / "leader.yaml"))
    stream = SensorStream(arm, lambda reading, stamp: samples.put(reading.value), problems.put)
    stream.start()
    assert problems.get(timeout=60.0) == ""
    bus.fault = fault
    wrong = ("answers garbage", "nothing valid")
    told = {"silence": ("silent",), "garbage": wrong, "partial": wrong, "unplug": ("no such port", "lost")}
    said = problems.get(timeout=60.0)
    assert any(words in said for words in told[fault]) and bus.path in said
    bus.fault = "none"
    while problems.get(timeout=60.0):
        pass
    while not samples.empty():
        samples.get()
    assert samples.get(timeout=60.0).joints["elbow"] == 0.0
    stream.stop()
    assert stream.failure is None


class Spoiling(DynamixelEmulator):
    """Every answer to a sync read is mutated: bytes changed, dropped, doubled, put in."""

    spoiling = False
    random = random.Random(0)

    def answer(self, received: bytes) -> tuple[list[bytes], bytes]:
        answers, rest = super().answer(received)
        return ([self._mutated(b"".join(answers))] if self.spoiling else answers), rest

    def _mutated(self, data: bytes) -> bytes:
        out, chance = bytearray(), self.random
        for byte in data:
            case = chance.randrange(400)
            out += {0: b"", 1: bytes([byte, byte]), 2: chance.randbytes(3), 3: b"\xff\xff\xfd\x00"}.get(
                case, bytes([byte])
            )
        return bytes(out)


def test_mutated_answers_give_no_wrong_joints_and_no_other_error(tmp_path: Path) -> None:
    with Spoiling(amplitude=0.0) as bus:
        bus.rest |= {servo: 2048 + 16 * servo for servo in bus.rest}
        arm = driver(bus, calibration(tmp_path / "leader.yaml"), rate=1000)
        arm.open()
        right = arm.calibration.positions(bus.rest)
        arm._health_due = float("inf")
        bus.spoiling, good = True, 0
        for _ in range(200):
            try:
                reading = arm.read(1.0)
            except DeviceError:
                continue  # one servo was wrong ten times in a row
            if reading is not None:
                good += 1
                assert reading.value.joints == right
        assert arm.rejected > 0 and good > 0
        arm.close()


def test_a_jump_that_no_hand_makes_is_passed_over_unless_it_stays(bus: ServoBusEmulator, tmp_path: Path) -> None:
    arm = driver(bus, calibration(tmp_path / "leader.yaml"))
    arm.open()
    assert arm.read(1.0) is not None
    bus.rest[3] += 1500
    assert arm.read(1.0) is None and arm.rejected == 1
    bus.rest[3] -= 1500
    assert arm.read(1.0) is not None
    bus.rest[3] += 1500
    assert arm.read(1.0) is None and arm.read(1.0) is not None
    arm.close()


def elbow(path: Path, low: int, high: int, zero: int) -> Path:
    """Write a calibration of servo 3 alone."""
    Calibration({"elbow": ServoJoint(3, low, high, zero)}).save(path)
    return path


def test_a_joint_goes_on_over_the_seam(bus: ServoBusEmulator, tmp_path: Path) -> None:
    """Feetech's positions begin anew at 0 after 4095, Dynamixel's after a power cycle."""
    arm = driver(bus, elbow(tmp_path / "leader.yaml", 3500, 4700, 4050))
    bus.rest[3] = 4090
    arm.open()
    for ticks in (4090, 4095, 4096, 4100, 4500, 4095):
        bus.rest[3] = ticks
        reading = arm.read(1.0)
        assert reading is not None and arm.rejected == 0
        assert reading.value.joints["elbow"] == pytest.approx((ticks - 4050) * math.tau / 4096)
    arm.close()
    bus.rest[3] = 4500 - 4096
    arm.open()
    reading = arm.read(1.0)
    arm.close()
    assert reading is not None and reading.value.joints["elbow"] == pytest.approx(450 * math.tau / 4096)


def test_a_joint_without_stops_turns_on_and_is_within_its_turn_again_after_a_pause(
    bus: ServoBusEmulator, tmp_path: Path
) -> None:
    arm = driver(bus, elbow(tmp_path / "leader.yaml", 0, 4095, 2048))
    bus.rest[3] = 3700
    arm.open()
    for ticks in (3700, 4000, 4300, 4600):
        bus.rest[3], arm._moved_at = ticks, math.inf
        reading = arm.read(1.0)
        assert reading is not None and arm.rejected == 0
        assert reading.value.joints["elbow"] == pytest.approx((ticks - 2048) * math.tau / 4096)
    arm._moved_at -= 10.0
    reading = arm.read(1.0)
    arm.close()
    assert reading is not None
    assert reading.value.joints["elbow"] == pytest.approx((4600 - 4096 - 2048) * math.tau / 4096)


def test_a_drive_mode_other_than_the_calibrations_is_refused(tmp_path: Path) -> None:
    with DynamixelEmulator(amplitude=0.0) as bus:
        file = calibration(tmp_path / "leader.yaml", drive_mode=1)
        for servo in bus.servos.values():
            servo.table[10] = 5  # bit 2: profiles by time
        bus.rest[3] = -2500
        arm = driver(bus, file)
        arm.open()
        reading = arm.read(1.0)
        arm.close()
        assert reading is not None and reading.value.joints["elbow"] == pytest.approx(452 * math.tau / 4096)
        bus.servos[3].table[10] = 4
        wrong = driver(bus, file, homing="ignore")
        with pytest.raises(DeviceError, match=r"servo 3 \('elbow'\) has drive mode 0, .*says 1: it would be mirrored"):
            wrong.open()
        wrong.close()


@pytest.mark.parametrize(
    ("name", "drive_mode", "shut"), [("feetech", 0, 1000), ("feetech", 1, 3000), ("dynamixel", 1, 1000)]
)
def test_a_grippers_drive_mode_is_applied_where_the_servo_does_not(
    name: str, drive_mode: int, shut: int, tmp_path: Path
) -> None:
    """LeRobot, ``MotorsBus._normalize``: 100 - norm on buses with ``apply_drive_mode``, which Dynamixel's is not."""
    jaw = {"id": 7, "drive_mode": drive_mode, "homing_offset": 0, "range_min": 1000, "range_max": 3000}
    file = tmp_path / "leader.json"
    file.write_text(json.dumps({"gripper": jaw}), encoding="utf-8")
    pytest.importorskip(TABLES[name].sdk)
    arm = ARMS[name](Address.parse(f"{name}:///dev/none?calibration={file}"))
    arm.with_ends({"gripper": (0.0, 0.04)})
    opened = {1000: 3000, 3000: 1000}[shut]
    assert arm.calibration.positions({7: shut}) == {"gripper": 0.0}
    assert arm.calibration.positions({7: opened}) == {"gripper": 0.04}


class Confused(DynamixelEmulator):
    """Servo 2 answers a read of positions as if it had been asked something else before."""

    confused = False

    def _read(self, servo: int, parameters: bytes) -> bytes:
        if self.confused and servo == 2:
            return self._status(servo, 0, b"\x32\x00" if parameters[2] == 4 else b"")
        return super()._read(servo, parameters)


def test_an_answer_to_another_question_is_no_position(tmp_path: Path) -> None:
    with Confused(amplitude=0.0) as bus:
        arm = driver(bus, calibration(tmp_path / "leader.yaml"))
        arm.open()
        assert arm.read(1.0) is not None
        bus.confused = True
        assert arm.read(1.0) is None and arm.rejected == 1
        with pytest.raises(DeviceError, match="servo 2: "):
            arm.bus.read(2, arm.table.voltage)
        bus.confused = False
        assert arm.read(1.0) is not None
        arm.close()


def test_the_sdks_are_asked_for_when_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(__import__("sys").modules, "dynamixel_sdk", None)
    with pytest.raises(DeviceError, match="need the Python package: pip install dynamixel-sdk"):
        DynamixelArm(Address.parse(f"dynamixel:///dev/x?calibration={calibration(tmp_path / 'leader.yaml')}"))
    assert import_module("vla_ros.teleop.servo_arm")
