"""Devices by address: a name, "scripted", or what a driver needs besides, ``dynamixel:///dev/ttyUSB0?calibration=my.yaml``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from vla_ros.contract import Contract
from vla_ros.drivers.address import Address
from vla_ros.drivers.registry import DRIVERS, make_driver
from vla_ros.drivers.tracked import Tracker
from vla_ros.errors import DeviceError, unknown_name
from vla_ros.kinematics import Kinematics
from vla_ros.sim.operator import ScriptedOperator
from vla_ros.teleop.device import LeaderDevice
from vla_ros.teleop.gamepad import Gamepad
from vla_ros.teleop.hands import make_hand
from vla_ros.teleop.keyboard import Keyboard
from vla_ros.teleop.paired import PairedLeaders, check_sides, joints_of, parse_sides
from vla_ros.teleop.scripted import ScriptedLeader
from vla_ros.teleop.scripted_hand import ScriptedHand
from vla_ros.teleop.servo_arm import DynamixelArm, FeetechArm, ServoArm
from vla_ros.teleop.spacemouse import SpaceMouse
from vla_ros.teleop.streamed import STALE, StreamedLeader
from vla_ros.teleop.topic import TopicLeader
from vla_ros.teleop.tracked_hand import TrackedHand

SCRIPTED = "scripted"
HANDS: dict[str, type[Keyboard] | type[Gamepad] | type[SpaceMouse]] = {
    "keyboard": Keyboard,
    "gamepad": Gamepad,
    "spacemouse": SpaceMouse,
}
LATE = {"keypoints": 0.25}  # [s] after which a tracker's sample is old: cameras see a hand 15 to 30 times a second
SERVO_ARMS: dict[str, type[ServoArm]] = {"dynamixel": DynamixelArm, "feetech": FeetechArm}


@dataclass(frozen=True)
class DeviceKind:
    """address: an example. what: it is, in a few words. clutch: its own, where it has one."""

    address: str
    what: str
    clutch: str = ""


DEVICES = {
    SCRIPTED: DeviceKind("scripted", "the simulator's operator, who knows the tasks", "never let go"),
    "dynamixel": DeviceKind(
        "dynamixel:///dev/ttyUSB0?calibration=leader.yaml&baud=1000000",
        "leader arm of Dynamixel X servos: GELLO, Koch, ALOHA",
    ),
    "feetech": DeviceKind(
        "feetech:///dev/ttyACM0?calibration=leader.yaml", "leader arm of STS3215 servos: SO-100, SO-101"
    ),
    "topic": DeviceKind("topic:///leader/joint_states", "any arm that publishes sensor_msgs/JointState"),
    "keyboard": DeviceKind("keyboard:///dev/pts/0", "the keys of a terminal move the tip", "the space bar"),
    "gamepad": DeviceKind("gamepad:///dev/input/event5", "sticks move the tip", "hold the left shoulder button"),
    "spacemouse": DeviceKind("spacemouse:///dev/hidraw3", "a 3D mouse moves the tip", "the left button"),
    "natnet": DeviceKind(
        "natnet://192.168.1.5?body=Hand", "a rigid body that OptiTrack's Motive streams moves the tip"
    ),
    "vrpn": DeviceKind(
        "vrpn://192.168.1.5?body=Hand", "what a VRPN server tracks, Vicon's or another's, moves the tip"
    ),
    "vive": DeviceKind("vive://?body=LHR-1234ABCD", "a Vive tracker or a controller moves the tip, by SteamVR"),
    "keypoints": DeviceKind(
        "keypoints://?camera=realsense://&tilt=20", "a bare hand that cameras see moves the tip, by MediaPipe"
    ),
    "webxr": DeviceKind(
        "webxr://127.0.0.1:8443", "a headset's controller or hand, or a phone, moves the tip", "hold the grip button"
    ),
}


def is_live(device: str) -> bool:
    """Return whether the device at this address is a person's, in real time. Raises DeviceError for an unknown one."""
    if sides := parse_sides(device):
        return all(is_live(address) for address in sides.values())
    return _parsed(device).device != SCRIPTED


def clutch_of(device: str) -> str:
    """Return where the device's own clutch is, "" where it has none; then the node's has to be taken."""
    if parse_sides(device):
        return ""
    return DEVICES[_parsed(device).device].clutch


def make_device(
    device: str, contract: Contract, kinematics: Kinematics, task: str, seed: int, own_kinematics: bool = False
) -> LeaderDevice:
    """Return the device at an address (not yet connected) for a robot. task and seed: of the scripted operator.

    own_kinematics: the leader's joints are not the follower's. Raises DeviceError naming the valid devices or options, or
    a joint that the calibration lacks.
    """
    grippers = {
        name: (float(low), float(high))
        for name, low, high in zip(kinematics.joint_names, kinematics.lower, kinematics.upper, strict=True)
        if name not in kinematics.tip_joints
    }
    if sides := parse_sides(device):
        return _paired(sides, contract, grippers)
    address = _parsed(device)

    def servos(kind: type[ServoArm]) -> StreamedLeader:
        return _servo_arm(kind(address), contract.joint_names, grippers, own_kinematics)

    def scripted() -> ScriptedLeader:
        address.only()
        operator = ScriptedOperator(task, kinematics)
        if address.host:
            return ScriptedHand(operator, kinematics, make_hand(address.host, kinematics), seed)
        return ScriptedLeader(operator, contract.joint_names, seed)

    makers: dict[str, Callable[[], LeaderDevice]] = {
        SCRIPTED: scripted,
        "dynamixel": lambda: servos(DynamixelArm),
        "feetech": lambda: servos(FeetechArm),
        "topic": lambda: TopicLeader(address),
    }
    if address.device in DRIVERS["tracker"]:
        if address.options.get("follow") == "arm" and contract.action.space != "joint_position":
            space = contract.action.space
            raise DeviceError(
                f"{device}: follow=arm leads joints, and {contract.source} is of {space}; valid: pose, position"
            )
        tracker: Tracker = make_driver("tracker", device)  # type: ignore[assignment]
        late = LATE.get(address.device, STALE)
        return StreamedLeader(TrackedHand(tracker, address, next(iter(grippers.values()), None)), late)
    if address.device in HANDS:
        return StreamedLeader(HANDS[address.device](address, next(iter(grippers.values()), None)))
    return makers[address.device]()


def _servo_arm(
    arm: ServoArm, joint_names: Sequence[str], grippers: Mapping[str, tuple[float, float]], own_kinematics: bool = False
) -> StreamedLeader:
    arm.with_ends(grippers)
    missing = [name for name in joint_names if name not in arm.calibration.joints]
    if missing and not own_kinematics:
        lacking = unknown_name("joint", missing[0], arm.calibration.joints)
        raise DeviceError(f"{arm.calibration.source}: {lacking}; rename by joints=leader:{missing[0]}")
    return StreamedLeader(arm)


def _paired(sides: Mapping[str, str], contract: Contract, grippers: Mapping[str, tuple[float, float]]) -> PairedLeaders:
    """Return a leader for each arm of the contract's robot."""
    check_sides(sides, contract.joint_names, contract.source)
    made: dict[str, StreamedLeader | TopicLeader] = {}
    for side, text in sides.items():
        address = _parsed(text)
        ends = {name: grippers[f"{side}_{name}"] for name in joints_of(side, grippers)}
        if address.device in SERVO_ARMS:
            names = joints_of(side, contract.joint_names)
            made[side] = _servo_arm(SERVO_ARMS[address.device](address), names, ends)
        elif address.device == "topic":
            made[side] = TopicLeader(address)
        else:
            valid = ", ".join([*SERVO_ARMS, "topic"])
            raise DeviceError(
                f"{side}={text}: two arms are led joint by joint, which a {address.device} cannot; valid: {valid}"
            )
    return PairedLeaders(made)


def _parsed(device: str) -> Address:
    address = Address.parse(device)
    if address.device not in DEVICES:
        raise DeviceError(unknown_name("teleoperation device", address.device, DEVICES))
    return address
