"""tactile_node before emulated skins: it publishes what they feel, and outlives an unplug that /diagnostics tells of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ros_support import RosTest

from vla_ros.emulators import make_emulator
from vla_ros.emulators.touching import FREE, PRESSED
from vla_ros.errors import DeviceError


@pytest.fixture
def start(ros: RosTest) -> Any:
    """Start a tactile_node in this process with parameters; it is finished after the test."""
    from rclpy.parameter import Parameter

    from vla_ros.ros.nodes.tactile_node import TactileNode

    nodes: list[Any] = []

    def begin(name: str = "tactile_node", **parameters: Any) -> Any:
        given = [Parameter(key, value=value) for key, value in parameters.items()]

        class Named(TactileNode):
            def __init__(self) -> None:
                super(TactileNode, self).__init__(name, context=ros.context, parameter_overrides=given)

        node = ros.add(Named())
        nodes.append(node)
        node.start()
        return node

    yield begin
    for node in nodes:
        node.finish()


def diagnosis(ros: RosTest, matching: Callable[[str, dict[str, str]], bool], what: str) -> dict[str, str]:
    """The values of the first status on /diagnostics whose message and values match."""
    from diagnostic_msgs.msg import DiagnosticArray

    def fits(array: Any) -> bool:
        return any(matching(entry.message, {pair.key: pair.value for pair in entry.values}) for entry in array.status)

    array = ros.message(DiagnosticArray, "/diagnostics", matching=fits, deadline=90.0)
    return {"message": array.status[0].message, **{pair.key: pair.value for pair in array.status[0].values}}


def test_what_an_anyskin_feels_is_published_and_an_unplug_is_told_and_survived(ros: RosTest, start: Any) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Bool
    from std_srvs.srv import Trigger

    from vla_ros.ros import qos
    from vla_ros.ros.convert import taxels_from_message

    emulator: Any = make_emulator("anyskin")
    emulator.touch = FREE
    with emulator:
        start("left_pad", device=emulator.address, baseline_samples=20)
        contacts, slips = (ros.collect(Bool, f"/left_pad/{name}", qos.LATCHED) for name in ("contact", "slip"))
        taxels = ros.collect(Image, "/left_pad/taxels", qos.SENSOR)
        ros.wait_for(lambda: taxels and contacts, what="taxels less their baseline")
        assert not contacts[-1].data
        rest = emulator.fields()

        emulator.touch = PRESSED
        ros.wait_for(lambda: contacts[-1].data, what="a contact")
        taxels.clear()
        ros.wait_for(lambda: len(taxels) > 30, what="taxels of the contact, and no longer those that were waiting")
        message = taxels[-1]
        assert (message.encoding, message.height, message.width) == ("32FC3", 1, 5)
        assert message.header.frame_id == "left_pad"
        assert abs(ros.node.get_clock().now().nanoseconds - message.header.stamp.sec * 10**9) < 60 * 10**9
        got = np.mean([taxels_from_message(image) for image in taxels[-10:]], axis=0)
        np.testing.assert_allclose(got[0], emulator.fields() - rest, atol=3.0)
        felt = diagnosis(ros, lambda text, values: values.get("contact") == "True", "a contact")
        assert (felt["unit"], felt["slip"]) == ("uT", "False")
        assert float(felt["normal"]) < -500

        emulator.fault = "unplug"
        found = diagnosis(ros, lambda text, values: emulator.path in text, "the unplug")
        assert "plug" in found["message"]
        answer = ros.call(Trigger, "/left_pad/baseline")
        assert not answer.success and emulator.path in answer.message
        taxels.clear()
        emulator.fault = "none"
        ros.wait_for(lambda: taxels, what="taxels after the unplug")
        back = diagnosis(ros, lambda text, values: "Hz" in text and values["reconnections"] != "0", "samples again")
        assert back["contact"] == "True"  # the baseline is that of before

        assert ros.call(Trigger, "/left_pad/baseline").message == "baseline of 20 samples"
        ros.wait_for(lambda: not contacts[-1].data, what="the contact that is now taken for nothing")
        assert slips and not slips[-1].data


def test_a_gel_is_published_as_a_picture_with_its_flow(ros: RosTest, start: Any) -> None:
    from sensor_msgs.msg import Image
    from std_msgs.msg import Bool, Float32MultiArray

    from vla_ros.ros import qos

    with make_emulator("gelsight") as emulator:
        start(device=emulator.address, baseline_samples=5)
        pictures = ros.collect(Image, "/tactile_node/image_raw", qos.SENSOR)
        differences = ros.collect(Image, "/tactile_node/difference", qos.SENSOR)
        flows = ros.collect(Float32MultiArray, "/tactile_node/flow", qos.SENSOR)
        contacts = ros.collect(Bool, "/tactile_node/contact", qos.LATCHED)
        ros.wait_for(lambda: any(contact.data for contact in contacts), what="a contact")
        flows.clear()
        ros.wait_for(lambda: flows and pictures and differences, what="pictures and flow")
    assert (pictures[-1].encoding, pictures[-1].height, pictures[-1].width) == ("rgb8", 240, 320)
    assert (differences[-1].encoding, len(differences[-1].data)) == ("rgb8", 240 * 320 * 3)
    sizes = [dimension.size for dimension in flows[-1].layout.dim]
    assert sizes[1] == 4 and sizes[0] > 60
    assert np.nanmax(np.abs(np.array(flows[-1].data).reshape(sizes)[:, 2:])) > 1.0


def test_a_node_without_a_device_says_what_it_wants(ros: RosTest, start: Any) -> None:
    with pytest.raises(DeviceError, match="parameter 'device' is empty, want the address of the tactile device"):
        start("empty")
    with pytest.raises(DeviceError, match=r"unknown tactile device 'anyskn' \(did you mean 'anyskin'\?\)"):
        start("wrong", device="anyskn:///dev/ttyACM0")
    with pytest.raises(DeviceError, match="on at 5, off below 15"):
        start("reversed", device="anyskin:///dev/ttyACM0", contact_on=5.0)
