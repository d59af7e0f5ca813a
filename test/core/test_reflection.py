"""Forces felt at the leader: limited currents that rise slowly, and end at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from ros_support import wait_until
from servo_support import JOINTS, address, calibration

from vla_ros.contract import load_contract
from vla_ros.drivers.address import Address
from vla_ros.emulators.dynamixel import DynamixelEmulator
from vla_ros.emulators.feetech import FeetechEmulator
from vla_ros.errors import DeviceError
from vla_ros.kinematics import Kinematics
from vla_ros.teleop.reflection import RAMP, TORQUE_PER_AMPERE, ForceReflection, ReflectionSettings
from vla_ros.teleop.servo_arm import DynamixelArm, FeetechArm

MS = 1_000_000
ELBOW = 3


@pytest.fixture
def bus() -> Iterator[DynamixelEmulator]:
    with DynamixelEmulator(amplitude=0.0) as emulator:
        yield emulator


def engaged(gain: float = 0.1, limit: float = 100.0) -> ForceReflection:
    made = ForceReflection(ReflectionSettings(gain, limit))
    made.engaged = True
    return made


def test_currents_rise_slowly_to_what_the_torque_asks_for_and_no_higher_than_the_limit() -> None:
    reflection = engaged()
    last = 0.0
    for k in range(100):
        reflection.feel(k * 10 * MS, {"elbow": -0.2, "wrist_1": 9.0})
        currents = reflection.step(k * 10 * MS)
        assert abs(currents["wrist_1"] - last) <= RAMP * 0.01 + 1e-9
        last = currents["wrist_1"]
    assert currents["wrist_1"] == 100.0
    assert currents["elbow"] == pytest.approx(-0.2 * 0.1 / TORQUE_PER_AMPERE * 1000)


def test_nothing_is_felt_with_an_open_clutch_or_of_old_forces_and_then_it_rises_anew() -> None:
    reflection = engaged()
    for k in range(20):
        reflection.feel(k * 10 * MS, {"elbow": 5.0})
        assert reflection.step(k * 10 * MS)["elbow"] == pytest.approx(k * RAMP * 0.01)
    assert reflection.step(190 * MS + 101 * MS) == {}, "old"
    reflection.feel(300 * MS, {"elbow": 5.0})
    assert reflection.step(300 * MS)["elbow"] < 6.0
    reflection.engaged = False
    assert reflection.step(301 * MS) == {}


def test_a_force_at_the_tip_turns_the_joints_that_it_moves() -> None:
    contract = load_contract("tabletop_arm")
    kinematics, q = Kinematics.of(contract), np.array([0.1, 0.2, -0.3, 0.4, 0.5, 0.6, 0.02])
    force = np.array([3.0, -2.0, 1.0, 0.0, 0.0, 0.0])  # in the tip's frame
    torques = kinematics.torques(q, force)
    assert set(torques) == set(JOINTS[:-1])
    world = kinematics.forward(q)[:3, :3] @ force[:3]
    for i, name in enumerate(JOINTS[:-1]):  # work is the same at the tip and at the joint
        step = np.zeros(7)
        step[i] = 1e-6
        moved = kinematics.forward(q + step)[:3, 3] - kinematics.forward(q - step)[:3, 3]
        assert torques[name] == pytest.approx(world @ moved / 2e-6, abs=1e-6)


def test_servos_are_told_currents_over_the_bus_and_let_go(bus: DynamixelEmulator, tmp_path: Path) -> None:
    file = calibration(tmp_path / "leader.yaml", direction=-1)
    arm = DynamixelArm(Address.parse(address(bus, file, reflect=0.2, current=60)))
    arm.open()
    assert arm.reflection is not None
    try:
        assert bus.servos[ELBOW].table[11] == 0 and bus.servos[ELBOW].table[64] == 1, "in current control, torque on"
        assert bus.servos[7].table[64] == 0, "the gripper stays limp"

        def read_until(current: int) -> None:
            def there() -> bool:
                if (reading := arm.read(0.1)) is not None and arm.reflection is not None:
                    arm.reflection.feel(reading.arrival, {"elbow": 5.0})
                return bus.current(ELBOW) == current

            wait_until(there, what=f"{current} mA")

        read_until(0)
        arm.reflection.engaged = True
        read_until(-60)
        assert bus.current(1) == 0, "nothing acts on the others"
        arm.reflection.engaged = False
        read_until(0)
        arm.reflection.engaged = True
        read_until(-60)
        wait_until(lambda: bus.current(ELBOW) == 0, what="the watchdog, nobody speaking to the servos")
        read_until(-60)
    finally:
        arm.close()
    assert all(servo.table[64] == 0 for servo in bus.servos.values())


class Mute(DynamixelEmulator):
    """Servos of `mute` do as they are told, and answer nothing. told: the sync writes, without their address and size."""

    mute: frozenset[int] = frozenset()

    def __init__(self) -> None:
        super().__init__(amplitude=0.0)
        self.told: list[bytes] = []

    def _sync_write(self, parameters: bytes) -> None:
        self.told.append(parameters[4:])
        super()._sync_write(parameters)

    def _status(self, servo: int, error: int, parameters: bytes = b"") -> bytes:
        return b"" if servo in self.mute else super()._status(servo, error, parameters)


NO_CURRENT = b"".join(bytes([servo, 0, 0]) for servo in range(1, 7))


def pushed(arm: DynamixelArm, bus: DynamixelEmulator, current: int) -> None:
    """Read the arm, its elbow being pushed, until it is told `current` [mA]."""
    assert arm.reflection is not None
    arm.reflection.engaged = True

    def there() -> bool:
        if (reading := arm.read(0.1)) is not None and arm.reflection is not None:
            arm.reflection.feel(reading.arrival, {"elbow": 5.0})
        return bus.current(ELBOW) == current

    wait_until(there, what=f"{current} mA")


@pytest.mark.parametrize("why", ["mute", "jump"])
def test_nothing_is_felt_while_a_servo_does_not_answer_or_jumps(why: str, tmp_path: Path) -> None:
    file = calibration(tmp_path / "leader.yaml")
    with Mute() as bus:
        arm = DynamixelArm(Address.parse(address(bus, file, reflect=0.2, current=60)))
        arm.open()
        try:
            pushed(arm, bus, 60)
            if why == "mute":
                bus.mute = frozenset({5})
            for ticks in (3048, 952, 3048):
                bus.rest[5], bus.told = ticks if why == "jump" else 2048, []
                assert arm.read(1.0) is None
                wait_until(lambda: bus.told[-1:] == [NO_CURRENT], deadline=10.0, what="no current")
            bus.mute, bus.rest[5] = frozenset(), 2048
            pushed(arm, bus, 60)
        finally:
            arm.close()


def test_every_servo_lets_go_in_the_end_though_the_first_is_dead(tmp_path: Path) -> None:
    file = calibration(tmp_path / "leader.yaml")
    with Mute() as bus:
        arm = DynamixelArm(Address.parse(address(bus, file, reflect=0.2, current=60)))
        arm.open()
        pushed(arm, bus, 60)
        bus.mute = frozenset({1, 4})
        arm.close()
        assert bus.told[-1] == NO_CURRENT
        assert [servo.table[64] for servo in bus.servos.values()] == [0] * 7


def test_servos_are_limp_unless_forces_are_asked_for(bus: DynamixelEmulator, tmp_path: Path) -> None:
    arm = DynamixelArm(Address.parse(address(bus, calibration(tmp_path / "leader.yaml"))))
    arm.open()
    try:
        assert arm.reflection is None
        assert all(servo.table[64] == 0 for servo in bus.servos.values())
    finally:
        arm.close()


def test_who_cannot_be_told_a_current_is_named(bus: DynamixelEmulator, tmp_path: Path) -> None:
    file = calibration(tmp_path / "leader.yaml")
    with FeetechEmulator() as other, pytest.raises(DeviceError, match="Feetech servos take no currents"):
        FeetechArm(Address.parse(address(other, file, reflect=0.1)))
    bus.modes = frozenset({1, 3, 4, 16})  # an XL430's
    arm = DynamixelArm(Address.parse(address(bus, file, reflect=0.1)))
    with pytest.raises(
        DeviceError, match=r"servo 1 \('shoulder_pan'\) takes no currents \(register 11\): leave reflect out"
    ):
        arm.open()
    arm.close()
