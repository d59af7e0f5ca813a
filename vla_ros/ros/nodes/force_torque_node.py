"""force_torque_node: one force/torque sensor, or a topic of one, as the wrench of contact on ``/tool/wrench``.

The parameter ``device`` is the sensor's address: ``netft://192.168.1.1``, ``axia://192.168.1.1``,
``ft300:///dev/ttyUSB0``, ``onrobot://192.168.1.1``, or ``topic:/ft_broadcaster/wrench``. With a ``calibration`` (made by
``vla-ros calibrate wrench``) the tool's weight is taken off for the arm's orientation at the time of the sample; ``~/tare``
(std_srvs/Trigger) takes off the mean of the last ``tare_samples``; ``cutoff`` filters. ``~/raw`` is what the sensor says.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from typing import Any

import numpy as np
import numpy.typing as npt
from geometry_msgs.msg import WrenchStamped
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger

from vla_ros.drivers import Address, Driver, Reading
from vla_ros.errors import CalibrationError, ObservationError
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.ros import qos
from vla_ros.ros.convert import JointReader, from_time, wrench_to_message
from vla_ros.ros.lifecycle import run_node
from vla_ros.ros.params import declare, declared_contract
from vla_ros.ros.sensor_node import SensorNode
from vla_ros.ros.wrench_topic import WrenchTopic
from vla_ros.wrench import WrenchCalibration, WrenchProcess, load_calibration

DEPTH = 100
COUNTER = 2**32  # of RDT's sequence numbers; the other sensors have none
UNITS = ("N", "N", "N", "Nm", "Nm", "Nm")


class ForceTorqueNode(SensorNode):
    """Publishes each sample from the thread that reads the sensor."""

    kind = "force_torque"

    def __init__(self) -> None:
        super().__init__("force_torque_node")

    def make_driver(self, address: str) -> Driver[Any]:
        """Return the sensor's driver, or one that reads a topic."""
        parsed = Address.parse(address)
        return WrenchTopic(self, parsed) if parsed.device == "topic" else super().make_driver(address)

    def stream_settings(self) -> dict[str, Any]:
        """Return where the counter wraps and what counts as silence."""
        what = "[s] without a sample after which the sensor counts as lost"
        return {"counter": COUNTER, "silence": declare(self, "timeout", 1.0, what, (0.05, 60.0), read_only=True)}

    def create_outputs(self) -> None:
        """Read the calibration, and create publishers and the tare service."""
        topic = declare(self, "topic", "/tool/wrench", "where the wrench is published", read_only=True)
        cutoff = declare(self, "cutoff", 0.0, "[Hz] of the low-pass filter; 0: none", (0.0, 5000.0), read_only=True)
        rate = declare(self, "rate", 0.0, "[Hz] of the samples; 0: told from their stamps", (0.0, 1e4), read_only=True)
        what = "from which a {} along or about an axis is taken for saturated [{}]; 0: not known"
        force = declare(self, "force_range", 0.0, what.format("force", "N"), (0.0, 1e5), read_only=True)
        torque = declare(self, "torque_range", 0.0, what.format("torque", "Nm"), (0.0, 1e5), read_only=True)
        file = declare(self, "calibration", "", "file made by vla-ros calibrate wrench", read_only=True)
        declare(self, "tare_samples", 200, "samples whose mean ~/tare takes off", (1, 5000))
        self._joint_age = declare(
            self, "joint_age", 0.1, "[s] between a sample and the joint states that go with it", (0.001, 10.0)
        )
        self._lock = threading.Lock()  # the process is used by the reading thread and by the tare
        self._flags: Counter[str] = Counter()  # since the last report
        self._rotation: tuple[int, npt.NDArray[np.float64]] | None = None  # stamp [ns], R_root_sensor
        calibration = load_calibration(file) if file else None
        self._process = WrenchProcess(calibration, cutoff, rate, (force, torque))
        if calibration is not None:
            self.frame = calibration.frame
            self._follow_joints(calibration)
        self._wrench = self.create_publisher(WrenchStamped, topic, qos.reliable(DEPTH))
        self._raw = self.create_publisher(WrenchStamped, "~/raw", qos.reliable(DEPTH))
        self.create_service(Trigger, "~/tare", self._on_tare)

    def _follow_joints(self, calibration: WrenchCalibration) -> None:
        contract = declared_contract(self)
        kinematics = Kinematics(load_urdf(contract.urdf), contract.joint_names, calibration.frame)
        read = JointReader(kinematics.joint_names, contract.state.topic)

        def on_joints(message: JointState) -> None:
            try:
                positions = read(message)
            except ObservationError as error:
                self.get_logger().warning(str(error), throttle_duration_sec=2.0)
                return
            self._rotation = (from_time(message.header.stamp), kinematics.forward(positions)[:3, :3])

        self.create_subscription(JointState, contract.state.topic, on_joints, qos.SENSOR)

    def publish(self, reading: Reading[Any], stamp: int) -> None:
        """Publish the raw wrench if someone looks, and the wrench of contact if it can be told."""
        if self._raw.get_subscription_count():
            self._raw.publish(wrench_to_message(stamp, self.frame, reading.value.tolist()))
        rotation = None
        if self._rotation is not None and abs(stamp - self._rotation[0]) <= self._joint_age * 1e9:
            rotation = self._rotation[1]
        with self._lock:
            processed = self._process(stamp, reading.value, rotation)
            self._flags.update((*reading.flags, *processed.flags))
        if processed.wrench is not None:
            self._wrench.publish(wrench_to_message(stamp, self.frame, processed.wrench.tolist()))

    def warnings(self) -> list[str]:
        """Return the flags of the samples since the last report, and on how many of them each was."""
        with self._lock:
            flags, self._flags = self._flags, Counter()
        return [f"{flag} ({count} samples)" for flag, count in flags.items()]

    def values(self) -> dict[str, str]:
        """Return what is done to the samples."""
        calibration = self._process.calibration
        load = f"{calibration.mass:.3f} kg in {calibration.frame}" if calibration else "none taken off"
        return {
            "filter_delay_s": f"{self._process.delay:.5f}",
            "tool_load": load,
            "tare": _shown(self._process.tared),
        }

    def _on_tare(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        samples = int(self.get_parameter("tare_samples").value)
        problem = self._stream.statistics.problem
        try:
            if problem:
                raise CalibrationError(f"no samples come: {problem}")
            with self._lock:
                mean, deviation = self._process.tare(samples)
        except CalibrationError as error:
            response.success, response.message = False, str(error)
            return response
        response.success = True
        response.message = f"mean of {samples} samples: {_shown(mean)}; standard deviation: {_shown(deviation)}"
        return response


def _shown(wrench: npt.NDArray[np.float64]) -> str:
    return ", ".join(f"{value:.4g} {unit}" for value, unit in zip(wrench, UNITS, strict=True))


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(ForceTorqueNode))


if __name__ == "__main__":
    main()
