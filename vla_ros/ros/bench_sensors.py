"""The sensors of `vla-ros bench record`: processes that publish at full rate, with values that tell their time.

Run as ``python -m vla_ros.ros.bench_sensors``. Parameters: ``part`` (cameras or numbers), ``start`` [ns] and
``slower`` (what all rates are divided by).
"""

from __future__ import annotations

import array
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import rclpy
from rclpy.node import Node
from sensor_msgs.msg import Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from vla_ros.contract import Contract, parse_contract
from vla_ros.ros import qos
from vla_ros.ros.convert import image_to_message, msg_type_for, to_duration, to_time, wrench_to_message
from vla_ros.ros.environment import READY
from vla_ros.ros.params import declare

SECOND = 1_000_000_000
SIZE = (480, 640)
CAMERAS = ("front", "left", "right", "wrist")
PADS = ("left", "right")
JOINTS = tuple("abcdefg")
RATES = {"camera": 30, "joints": 500, "wrench": 1000, "pad": 100, "gate": 100}
PHASE = 0.4  # of a camera's period, by which its frames follow the grid of the rows
AHEAD = SECOND // 50  # of the gate's setpoints
WINDOW = 33  # samples of the wrench in a row
BITS, BLOCK = 16, 40  # of the number that a picture carries; [px]


def rates(slower: int) -> dict[str, float]:
    """Return the rate of each kind of stream [Hz]; the gate keeps its own, as it must."""
    return {kind: rate if kind == "gate" else rate / slower for kind, rate in RATES.items()}


def contract(slower: int = 1) -> Contract:
    """Return the contract of the recorded robot; all rates are divided by `slower`."""
    rate = rates(slower)
    image = f"kind: image, shape: [{SIZE[0]}, {SIZE[1]}, 3], rate: {rate['camera']}, max_age: {0.1 * slower}"
    pad = f"kind: taxels, shape: [4, 4, 3], rate: {rate['pad']}"
    lines = [f"  observation.images.{name}: {{topic: /{name}, {image}}}" for name in CAMERAS]
    lines += [f"  observation.tactile.{name}: {{topic: /{name}_pad, {pad}}}" for name in PADS]
    names = ", ".join(f"{name}.pos" for name in JOINTS)
    joints = f"kind: joints, names: [{names}], align: interpolate, rate: {rate['joints']}"
    text = f"""
robot: bench_arm
urdf: none
rate: {rate["camera"]}
observation:
  observation.state: {{topic: /joint_states, {joints}}}
  observation.wrench.tool: {{topic: /wrench, kind: wrench, history: {WINDOW}, rate: {rate["wrench"]}}}
{chr(10).join(lines)}
  task: {{topic: /instruction, kind: text}}
action: {{space: joint_position, names: [{names}], command: {{interface: forward, topic: /commands}}}}
limits: {{velocity: 1.0, acceleration: 5.0}}
"""
    return parse_contract(text, "bench record")


def number_in(frame: npt.NDArray[np.uint8]) -> int:
    """Return the number that a picture carries."""
    middles = frame[BLOCK // 2 : 2 * BLOCK : BLOCK, BLOCK // 2 : 8 * BLOCK : BLOCK].mean(axis=2).reshape(-1)
    return int(sum(1 << bit for bit in range(BITS) if middles[bit] > 128))


class Painter:
    """Makes a camera's messages: a textured background that moves, and the picture's number in black and white."""

    BACKGROUNDS = 15

    def __init__(self, name: str, seed: int) -> None:
        noise = np.random.default_rng(seed).integers(40, 216, (30, 40, 3), dtype=np.uint8)
        ground = cv2.resize(noise, SIZE[::-1], interpolation=cv2.INTER_CUBIC)
        shifted = [np.roll(ground, 4 * shift, axis=1) for shift in range(self.BACKGROUNDS)]
        self._messages = [image_to_message(0, name, picture, "rgb8") for picture in shifted]
        self._pixels = [np.frombuffer(m.data, dtype=np.uint8).reshape(*SIZE, 3) for m in self._messages]

    def message(self, number: int, stamp: int) -> Image:
        """Return picture `number`; valid until the next one of the same background."""
        message, pixels = self._messages[number % self.BACKGROUNDS], self._pixels[number % self.BACKGROUNDS]
        for bit in range(BITS):
            y, x = BLOCK * (bit // 8), BLOCK * (bit % 8)
            pixels[y : y + BLOCK, x : x + BLOCK] = 235 if number >> bit & 1 else 20
        message.header.stamp = to_time(stamp)
        return message


@dataclass
class Source:
    """One stream: its next sample's index since 1970, and what publishes sample k, stamped [ns]."""

    rate: float
    phase: float
    publish: Callable[[int, int], None]
    index: int = 0

    def stamp(self) -> int:
        """Return the stamp of the next sample [ns]."""
        return round((self.index + self.phase) * SECOND / self.rate)


def cameras(node: Node, rate: float) -> list[Source]:
    """Return the cameras, whose pictures tell their number."""

    def source(name: str, seed: int) -> Source:
        publisher, painter = node.create_publisher(Image, f"/{name}", qos.COMMAND), Painter(name, seed)
        return Source(rate, PHASE, lambda k, stamp: publisher.publish(painter.message(k % (1 << BITS), stamp)))

    return [source(name, seed) for seed, name in enumerate(CAMERAS)]


def numbers(node: Node, rate: dict[str, float], start: int) -> list[Source]:
    """Return the other streams, whose values are the seconds since `start` [ns]."""
    joints = node.create_publisher(JointState, "/joint_states", qos.COMMAND)
    wrench = node.create_publisher(msg_type_for("wrench"), "/wrench", qos.COMMAND)
    pads = [node.create_publisher(Image, f"/{pad}_pad", qos.COMMAND) for pad in PADS]
    gate = node.create_publisher(JointTrajectory, "/gate/action", qos.COMMAND)
    text = node.create_publisher(String, "/instruction", qos.LATCHED)
    text.publish(String(data="record everything"))

    def seconds(stamp: int) -> float:
        return (stamp - start) / SECOND

    def send_joints(k: int, stamp: int) -> None:
        message = JointState(name=list(JOINTS), position=array.array("d", [seconds(stamp)] * len(JOINTS)))
        message.header.stamp = to_time(stamp)
        joints.publish(message)

    def send_pads(k: int, stamp: int) -> None:
        for pad, publisher in zip(PADS, pads, strict=True):
            values = np.full((4, 4, 3), seconds(stamp), dtype=np.float32)
            publisher.publish(image_to_message(stamp, pad, values, "32FC3"))

    def send_action(k: int, stamp: int) -> None:
        message = JointTrajectory(joint_names=[f"{name}.pos" for name in JOINTS])
        message.header.stamp = to_time(stamp)
        positions = [seconds(stamp + AHEAD)] * len(JOINTS)
        message.points = [JointTrajectoryPoint(positions=positions, time_from_start=to_duration(AHEAD))]
        gate.publish(message)

    def send_wrench(k: int, stamp: int) -> None:
        wrench.publish(wrench_to_message(stamp, "tool0", [seconds(stamp)] * 6))

    senders = {"joints": send_joints, "wrench": send_wrench, "pad": send_pads, "gate": send_action}
    return [Source(rate[kind], 0.0, send) for kind, send in senders.items()]


def main(arguments: Sequence[str] | None = None) -> None:
    """Publish until told to stop; what is late is published late, with the stamp it should have had."""
    rclpy.init(args=arguments)
    node = Node("bench_sensors")
    part = declare(node, "part", "cameras", "which sensors: cameras or numbers", read_only=True)
    start = int(declare(node, "start", "0", "the time that values count from [ns]", read_only=True))
    rate = rates(declare(node, "slower", 1, "what all rates are divided by", read_only=True))
    sources = cameras(node, rate["camera"]) if part == "cameras" else numbers(node, rate, start)
    now = time.time_ns()
    for source in sources:
        source.index = int(now * source.rate // SECOND) + 1
    print(f"{READY} {node.get_name()}", flush=True)
    try:
        while rclpy.ok():
            due = min(sources, key=Source.stamp)
            stamp = due.stamp()
            if (wait := stamp - time.time_ns()) > 0:
                time.sleep(wait / SECOND)
            due.publish(due.index, stamp)
            due.index += 1
    except KeyboardInterrupt:
        pass


if __name__ == "__main__":
    main(sys.argv)
