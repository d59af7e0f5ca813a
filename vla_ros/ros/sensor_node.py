"""The node around one sensor's driver: it opens it, publishes with capture stamps, reconnects, and tells how it goes."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

from rclpy.clock import Clock, ClockType

from vla_ros.drivers import Driver, Reading, SensorStream, make_driver
from vla_ros.errors import DeviceError
from vla_ros.ros.diagnostics import ERROR, OK, WARN, Diagnostics
from vla_ros.ros.entities import Entities
from vla_ros.ros.lifecycle import ManagedNode
from vla_ros.ros.params import declare

REPORT_PERIOD = 1.0  # [s]


class SensorNode(ManagedNode):
    """A node of one device of `kind`; it publishes from the thread that reads the device, as soon as a sample is there.

    A missing or lost device is no reason to end: diagnostics tell what was looked for, and it is looked for again.
    """

    kind: str  # of drivers.registry

    def configure(self) -> None:
        """Make the driver from the node's parameters, and the publishers."""
        self._inherited = Entities(self)
        what = f"address of the {self.kind} device, such as name://host or name:///dev/tty?option=value"
        address = declare(self, "device", "", what, read_only=True)
        self.frame = declare(self, "frame", self.get_name().removesuffix("_node"), "frame id", read_only=True)
        latency = declare(self, "latency", 0.0, "[s] from capture to arrival, at the least", (0.0, 1.0), read_only=True)
        if self.get_parameter("use_sim_time").value:
            raise DeviceError(f"{self.get_name()}: use_sim_time is set, but a real device's stamps are of real time")
        if not address:
            raise DeviceError(f"{self.get_name()}: parameter 'device' is empty, want the {what}")
        self._stream: SensorStream[Any] = SensorStream(
            self.make_driver(address), self._on_sample, self._on_change, latency, **self.stream_settings()
        )
        self._diagnostics = Diagnostics(self)
        self.create_timer(REPORT_PERIOD, self._report, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.create_outputs()

    def make_driver(self, address: str) -> Driver[Any]:
        """Return the driver of the device at `address`. Raises DeviceError."""
        return make_driver(self.kind, address)

    def stream_settings(self) -> dict[str, Any]:
        """Return further arguments of SensorStream: `silence`, `counter`."""
        return {}

    @abstractmethod
    def create_outputs(self) -> None:
        """Declare what else the kind of sensor needs and create its publishers and services."""

    @abstractmethod
    def publish(self, reading: Reading[Any], stamp: int) -> None:
        """Publish a sample taken at `stamp` [ns]. Called in the reading thread."""

    def warnings(self) -> list[str]:
        """Return what is wrong with the samples although they come; shown in diagnostics."""
        return []

    def values(self) -> dict[str, str]:
        """Return further figures for diagnostics."""
        return {}

    def activate(self) -> None:
        """Start reading."""
        self._stream.start()

    def deactivate(self) -> None:
        """Stop reading; the device is free."""
        self._stream.stop()

    def cleanup(self) -> None:
        """Destroy what `configure` created."""
        self._inherited.destroy_newer()

    def _on_sample(self, reading: Reading[Any], stamp: int) -> None:
        self.publish(reading, stamp)

    def _on_change(self, problem: str) -> None:
        if problem:
            self.get_logger().error(problem)
        else:
            self.get_logger().info(f"{self._stream.driver.device}: samples come")
        self._report()

    def _report(self) -> None:
        statistics = self._stream.statistics
        warnings = self.warnings()
        level = ERROR if statistics.problem else WARN if warnings else OK
        text = statistics.problem or "; ".join(warnings) or f"{statistics.rate:.0f} Hz"
        self._diagnostics.publish(level, text, {**statistics.summary(), **self.values()})
