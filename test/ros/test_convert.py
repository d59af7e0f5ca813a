"""Messages become arrays and arrays messages, without loss, for every encoding and padding."""

from __future__ import annotations

import array

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vla_ros.action import ActionChunk
from vla_ros.contract import load_contract
from vla_ros.errors import ActionError, ObservationError

pytest.importorskip("rclpy")
import cv2
from sensor_msgs.msg import CompressedImage, Image, JointState
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from vla_ros.ros.chunks import chunk_from_message, chunk_to_message
from vla_ros.ros.convert import (
    JointReader,
    decoder_for,
    depth_from_message,
    from_time,
    image_to_message,
    joints_to_message,
    msg_type_for,
    rgb_from_message,
    taxels_from_message,
    to_time,
    wrench_from_message,
    wrench_to_message,
)

sizes = st.tuples(st.integers(1, 9), st.integers(1, 9))
pixels = sizes.flatmap(lambda size: hnp.arrays(np.uint8, (*size, 3)))


def padded(message: Image, pad: int) -> Image:
    """Return the message with `pad` bytes of rubbish after each row."""
    rows = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)
    rows = np.hstack([rows, np.full((message.height, pad), 7, np.uint8)])
    message.step += pad
    message.data = array.array("B", rows.tobytes())
    return message


@settings(max_examples=40, deadline=None)
@given(image=pixels, pad=st.integers(0, 5), stamp=st.integers(0, 2**61))
def test_rgb_survives_the_wire_with_padded_rows(image: np.ndarray, pad: int, stamp: int):
    message = padded(image_to_message(stamp, "optical", image, "rgb8"), pad)
    np.testing.assert_array_equal(rgb_from_message(message), image)
    assert from_time(message.header.stamp) == stamp
    assert message.header.frame_id == "optical"


@settings(max_examples=20, deadline=None)
@given(image=pixels, pad=st.integers(0, 3))
def test_every_colour_encoding_decodes_to_rgb(image: np.ndarray, pad: int):
    alpha = np.full((*image.shape[:2], 1), 9, np.uint8)
    sent = {
        "bgr8": image[:, :, ::-1],
        "rgba8": np.concatenate([image, alpha], axis=2),
        "bgra8": np.concatenate([image[:, :, ::-1], alpha], axis=2),
    }
    for encoding, data in sent.items():
        np.testing.assert_array_equal(rgb_from_message(padded(image_to_message(0, "", data, encoding), pad)), image)
    grey = rgb_from_message(padded(image_to_message(0, "", image[:, :, 0], "mono8"), pad))
    np.testing.assert_array_equal(grey, np.repeat(image[:, :, :1], 3, axis=2))


def test_decoded_arrays_do_not_point_into_the_message():
    message = image_to_message(0, "", np.ones((2, 2, 3), np.uint8), "rgb8")
    decoded = rgb_from_message(message)
    message.data[0] = 99
    assert decoded[0, 0, 0] == 1


@settings(max_examples=20, deadline=None)
@given(depth=hnp.arrays(np.uint16, sizes), pad=st.integers(0, 5))
def test_depth_in_millimetres_becomes_metres_and_zero_invalid(depth: np.ndarray, pad: int):
    metres = depth_from_message(padded(image_to_message(0, "", depth, "16UC1"), pad))
    assert metres.dtype == np.float32
    np.testing.assert_array_equal(np.isnan(metres), depth == 0)
    np.testing.assert_allclose(metres[depth > 0], depth[depth > 0] / 1000.0, rtol=1e-6)


def test_big_endian_depth_is_read_as_such():
    message = image_to_message(0, "", np.array([[1500]], np.uint16), "16UC1")
    message.is_bigendian, message.data = 1, array.array("B", [1500 >> 8, 1500 & 255])
    assert depth_from_message(message)[0, 0] == pytest.approx(1.5)


@settings(max_examples=20, deadline=None)
@given(grid=hnp.arrays(np.float32, (4, 4, 3), elements=st.floats(-1e3, 1e3, width=32)))
def test_taxels_survive_the_wire(grid: np.ndarray):
    np.testing.assert_array_equal(taxels_from_message(image_to_message(5, "left_pad", grid, "32FC3")), grid)


def test_float_depth_keeps_nan():
    depth = np.array([[0.5, np.nan]], np.float32)
    np.testing.assert_array_equal(depth_from_message(image_to_message(0, "", depth, "32FC1")), depth)


def test_compressed_images_are_decoded_to_rgb_and_depth():
    image = np.zeros((8, 8, 3), np.uint8)
    image[:, :, 0] = 200
    png = array.array("B", cv2.imencode(".png", image[:, :, ::-1])[1].tobytes())
    np.testing.assert_array_equal(rgb_from_message(CompressedImage(format="png", data=png)), image)
    depth = array.array("B", cv2.imencode(".png", np.full((2, 2), 1250, np.uint16))[1].tobytes())
    assert depth_from_message(CompressedImage(format="16UC1; png", data=depth)) == pytest.approx(np.full((2, 2), 1.25))
    with pytest.raises(ObservationError, match="format 'jpeg' and 3 bytes is not readable"):
        rgb_from_message(CompressedImage(format="jpeg", data=array.array("B", [1, 2, 3])))


def test_an_unknown_encoding_and_a_short_buffer_are_refused_by_name():
    message = image_to_message(0, "", np.zeros((2, 2, 3), np.uint8), "rgb8")
    message.encoding = "yuv422"
    with pytest.raises(ObservationError, match=r"unknown image encoding 'yuv422'.*bgr8"):
        rgb_from_message(message)
    message.encoding, message.data = "rgb8", array.array("B", [0] * 11)
    with pytest.raises(ObservationError, match="step 6 and 11 bytes; want a step of at least 6 and 12 bytes"):
        rgb_from_message(message)


def test_joints_are_read_by_name_whatever_their_order():
    message = joints_to_message(3, {"b": 2.0, "a": 1.0}, {"b": 0.2, "a": 0.1}, {"b": 0.0, "a": 0.0})
    assert list(message.name) == ["a", "b"]
    reader = JointReader(["b", "a"])
    assert reader(message).tolist() == [2.0, 1.0]
    assert reader.velocities(message).tolist() == [0.2, 0.1]


def test_a_missing_joint_is_named_with_the_ones_that_are_there():
    with pytest.raises(ObservationError, match=r"/joint_states: unknown joint 'elbow'.*valid: a, b"):
        JointReader(["a", "elbow"])(JointState(name=["a", "b"], position=[0.0, 0.0]))
    with pytest.raises(ObservationError, match="1 position values for 2 joints"):
        JointReader(["a"])(JointState(name=["a", "b"], position=[0.0]))


def test_a_wrench_survives_the_wire():
    wrench = [1.0, -2.0, 3.5, 0.1, 0.2, -0.25]
    message = wrench_to_message(7, "tool0", wrench)
    assert message.header.frame_id == "tool0"
    assert wrench_from_message(message).tolist() == pytest.approx(wrench)


def test_every_stream_of_the_contract_has_a_type_and_a_decoder():
    contract = load_contract("tabletop_arm")
    for spec in contract.observation.values():
        assert msg_type_for(spec.kind, spec.topic)
        assert callable(decoder_for(spec))
    stamp, value = decoder_for(contract.observation["task"], lambda: 42)(String(data="pick"))
    assert (stamp, value) == (42, "pick")
    assert msg_type_for("image", "/camera/image_raw/compressed") is CompressedImage
    with pytest.raises(ObservationError, match="unknown kind of stream 'sound'"):
        msg_type_for("sound")


@settings(max_examples=50, deadline=None)
@given(
    values=hnp.arrays(np.float64, st.tuples(st.integers(1, 60), st.just(3)), elements=st.floats(-9, 9)),
    dt=st.sampled_from([1 / 30, 0.1, 0.01, 1 / 7]),
    stamp=st.integers(0, 2**61),
)
def test_a_chunk_survives_the_wire(values: np.ndarray, dt: float, stamp: int):
    sent = ActionChunk(values, ("a.pos", "b.pos", "c.pos"), "joint_position", stamp, dt)
    received = chunk_from_message(chunk_to_message(sent))
    np.testing.assert_array_equal(received.values, sent.values)
    assert (received.names, received.space, received.stamp) == (sent.names, sent.space, sent.stamp)
    np.testing.assert_allclose(received.times(), sent.times(), atol=2)


def test_an_empty_chunk_and_a_pose_chunk_keep_what_they_are():
    empty = ActionChunk(np.zeros((0, 2)), ("a.pos", "b.pos"), "joint_position", 9, 0.1)
    assert chunk_from_message(chunk_to_message(empty)).empty
    pose = ActionChunk(np.zeros((1, 2)), ("ee.x", "gripper.pos"), "ee_pose", 9, 0.1, frame="base_link")
    received = chunk_from_message(chunk_to_message(pose))
    assert (received.space, received.frame) == ("ee_pose", "base_link")


def test_a_chunk_of_ragged_rows_or_uneven_times_is_refused():
    message = chunk_to_message(ActionChunk(np.zeros((3, 2)), ("a.pos", "b.pos"), "joint_position", 0, 0.1))
    message.points[1].positions = array.array("d", [1.0])
    with pytest.raises(ActionError, match="point 1 of a chunk has 1 values for 2 names"):
        chunk_from_message(message)
    message = chunk_to_message(ActionChunk(np.zeros((3, 2)), ("a.pos", "b.pos"), "joint_position", 0, 0.1))
    message.points[1].time_from_start.nanosec += 1_000_000
    with pytest.raises(ActionError, match=r"point 1 of a chunk is at 0.201 s, want evenly spaced"):
        chunk_from_message(message)


def test_an_empty_message_is_an_empty_chunk():
    assert chunk_from_message(JointTrajectory(joint_names=["a.pos"])).empty


def test_stamps_are_exact():
    assert from_time(to_time(1_795_366_172_706_841_338)) == 1_795_366_172_706_841_338
