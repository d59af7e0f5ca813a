"""tactile_node: one skin, an array of taxels or a camera behind a gel, and what it feels.

Of taxels it publishes ``~/taxels`` (Image, 32FC3: shear x, shear y, normal in the device's unit), of a camera
``~/image_raw`` (Image, rgb8), and where someone asks ``~/difference`` (Image, rgb8: 128 is as at rest) and ``~/flow``
(Float32MultiArray [markers, 4]: x, y, dx, dy [px], NaN: not seen). Of both ``~/contact`` and ``~/slip`` (Bool), when they
change, and to whoever joins later. Service ``~/baseline`` (Trigger): what it feels now is nothing.

With ``encoder``, a policy's checkpoint, tokens of the sample are on its topic + ``/tokens`` (`vla_ros.ros.edge`).

Named like the pad, ``--ros-args -r __node:=left_pad``, its topic is that of a contract, ``/left_pad/taxels``.
"""

from __future__ import annotations

import array
import sys
import threading
from typing import Any

import numpy as np
import numpy.typing as npt
from sensor_msgs.msg import Image
from std_msgs.msg import Bool, Float32MultiArray, MultiArrayDimension, MultiArrayLayout
from std_srvs.srv import Trigger

from vla_ros.drivers import Reading
from vla_ros.ros import qos
from vla_ros.ros.convert import image_to_message
from vla_ros.ros.edge import token_output
from vla_ros.ros.lifecycle import run_node
from vla_ros.ros.params import declare
from vla_ros.ros.sensor_node import SensorNode
from vla_ros.tactile import Thresholds, TouchState, touch_for
from vla_ros.tactile.touch import DEFAULTS

PATIENCE = 10.0  # [s] that ~/baseline waits for its samples
MIDDLE = 128  # of a difference image: no difference


class TactileNode(SensorNode):
    """Publishes a skin and what it feels, from the thread that reads the device."""

    kind = "tactile"

    def __init__(self) -> None:
        super().__init__("tactile_node")

    def create_outputs(self) -> None:
        """Declare the thresholds, whose defaults are those of the device's unit, and create the publishers."""
        self._unit: str = self._stream.driver.unit  # type: ignore[attr-defined]
        usual = DEFAULTS[self._unit]
        level = "share of the picture" if self._unit == "rgb" else self._unit
        score = "px/s" if self._unit == "rgb" else "1/s"
        thresholds = Thresholds(
            declare(self, "contact_on", usual.contact_on, f"[{level}] contact from this level", read_only=True),
            declare(self, "contact_off", usual.contact_off, f"[{level}] until below this", read_only=True),
            declare(self, "slip", usual.slip, f"[{score}] slip from this score", read_only=True),
            declare(self, "baseline_samples", usual.samples, "samples of a baseline", (1, 10_000), read_only=True),
            declare(
                self, "drift", usual.drift, "[s] over which the baseline follows drift", (0.1, 1e9), read_only=True
            ),
        )
        self._subtract = declare(
            self,
            "subtract_baseline",
            True,
            "publish taxels less their baseline, none until it is taken",
            read_only=True,
        )
        markers = declare(self, "follow_markers", True, "of a gel: marker flow, and slip with it", read_only=True)
        self._touch = touch_for(self._unit, thresholds, markers)
        self._state = TouchState()
        self._taken = threading.Event()
        topic, kind = ("~/image_raw", "image") if self._unit == "rgb" else ("~/taxels", "taxels")
        self._sample = self.create_publisher(Image, topic, qos.COMMAND)
        self._tokens = token_output(self, topic, self.frame, kind)
        self._contact = self.create_publisher(Bool, "~/contact", qos.LATCHED)
        self._slip = self.create_publisher(Bool, "~/slip", qos.LATCHED)
        self._difference = self._flow = None
        if self._unit == "rgb":
            self._difference = self.create_publisher(Image, "~/difference", qos.COMMAND)
            self._flow = self.create_publisher(Float32MultiArray, "~/flow", qos.COMMAND)
        self._told: tuple[bool, bool] | None = None
        self.create_service(Trigger, "~/baseline", self._on_baseline)

    def publish(self, reading: Reading[npt.NDArray[np.generic]], stamp: int) -> None:
        """Publish a sample and what is felt in it."""
        value, baselines = reading.value, self._touch.baseline.number
        if self._unit == "rgb":
            self._publish_sample(value, "rgb8", stamp)
        state = self._state = self._touch.process(stamp, value)
        if self._touch.baseline.number != baselines:
            self._taken.set()
        if self._unit != "rgb":
            taxels = state.difference if self._subtract else value
            if taxels is not None:
                self._publish_sample(taxels, "32FC3", stamp)
        if state.difference is not None:
            self._publish_felt(state, state.difference, stamp)

    def warnings(self) -> list[str]:
        """Say that the baseline is being taken, and why there are no tokens."""
        baseline = self._touch.baseline
        taking = [] if baseline.ready else [f"taking the baseline, {baseline.taken} of {baseline.samples} samples"]
        return taking + [self._tokens.problem] if self._tokens and self._tokens.problem else taking

    def values(self) -> dict[str, str]:
        """Return what is felt; nothing while nothing comes."""
        if self._stream.statistics.problem:
            return {"unit": self._unit}
        state = self._state
        values = {"unit": self._unit, "contact": state.contact, "slip": state.slip, "level": f"{state.level:.4g}"}
        if state.flow is not None:
            values["markers"] = f"{int(np.isfinite(state.flow[:, 2]).sum())} of {len(state.flow)}"
        values |= {name: f"{value:.4g}" for name, value in state.figures.items()}
        values |= self._tokens.values() if self._tokens else {}
        return {name: str(value) for name, value in values.items()}

    def _publish_sample(self, sample: npt.NDArray[Any], encoding: str, stamp: int) -> None:
        if self._tokens is None or self._sample.get_subscription_count():
            self._sample.publish(image_to_message(stamp, self.frame, sample, encoding))
        if self._tokens is not None:
            self._tokens.publish(sample, stamp)

    def _publish_felt(self, state: TouchState, difference: npt.NDArray[np.float32], stamp: int) -> None:
        if self._told != (state.contact, state.slip):
            self._told = (state.contact, state.slip)
            self._contact.publish(Bool(data=state.contact))
            self._slip.publish(Bool(data=state.slip))
        if self._difference is not None and self._difference.get_subscription_count():
            picture = np.clip(MIDDLE + difference, 0, 255).astype(np.uint8)
            self._difference.publish(image_to_message(stamp, self.frame, picture, "rgb8"))
        if self._flow is not None and self._flow.get_subscription_count() and state.flow is not None:
            self._flow.publish(_array(state.flow))

    def _on_baseline(self, request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        problem = self._stream.statistics.problem
        self._taken.clear()
        if not problem:
            self._touch.restart()
            response.success = self._taken.wait(PATIENCE)
        samples = self._touch.baseline.samples
        failure = problem or f"{samples} samples did not come within {PATIENCE:g} s"
        response.message = f"baseline of {samples} samples" if response.success else f"no baseline: {failure}"
        return response


def _array(values: npt.NDArray[np.float32]) -> Float32MultiArray:
    sizes = zip(("marker", "x y dx dy"), values.shape, strict=True)
    layout = [MultiArrayDimension(label=label, size=size, stride=size) for label, size in sizes]
    layout[0].stride = values.size
    data: Any = array.array("f", values.astype(np.float32).tobytes())
    return Float32MultiArray(layout=MultiArrayLayout(dim=layout), data=data)


def main() -> None:
    """Run the node until it is told to stop."""
    sys.exit(run_node(TactileNode))


if __name__ == "__main__":
    main()
