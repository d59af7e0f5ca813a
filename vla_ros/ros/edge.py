"""Encoding at the edge: a sensor's node publishes what a policy's encoder makes of its samples.

With the parameter ``encoder`` (a policy's checkpoint) the tokens are on the sample's topic + ``/tokens``, as
`vla_ros.tokens` says, stamped with the sample's capture. They are made only while someone subscribes, as the pixels are sent
only while someone wants them.
"""

from __future__ import annotations

import array
import time
from collections import deque
from typing import Any

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from sensor_msgs.msg import CompressedImage
from std_msgs.msg import String

from vla_ros.contract_spec import TOKENS
from vla_ros.errors import DeviceError, unknown_name
from vla_ros.ros import qos
from vla_ros.ros.convert import to_time
from vla_ros.ros.params import declare
from vla_ros.tokens import PRECISIONS, Tokens, encode_message

DEPTH = 5  # messages that wait for a slow subscriber


class TokenOutput:
    """Publishes one stream of a sensor as tokens. `problem` says why it does not; "" when it does."""

    def __init__(self, node: Node, topic: str, frame: str, kind: str, checkpoint: str) -> None:
        import torch  # in the processes that encode, alone

        from vla_ros.policy.edge import EdgeEncoder

        self._frame, self.problem, self._time = frame, "", deque[float](maxlen=200)
        stream = declare(node, "stream", "", "of the checkpoint's contract; '': the one on this topic", read_only=True)
        self._precision = declare(node, "token_type", "float32", "of the numbers sent", read_only=True)
        self._instruction = declare(node, "instruction", "", "to begin with; the policy's topic replaces it")
        threads = declare(node, "threads", 1, "CPU threads of the encoder", (1, 64), read_only=True)
        if self._precision not in PRECISIONS:
            raise DeviceError(f"token_type: {unknown_name('type', self._precision, PRECISIONS)}")
        torch.set_num_threads(threads)
        topic = node.resolve_topic_name(topic)
        self._encoder = EdgeEncoder.load(checkpoint, stream, topic)
        contract = self._encoder.contract
        self._spec = contract.observation[self._encoder.wanted.key]
        if self._spec.kind != kind:
            raise DeviceError(f"stream '{self._spec.key}' is of kind '{self._spec.kind}', this node has '{kind}'")
        if self._spec.history > 1:
            raise DeviceError(f"stream '{self._spec.key}' holds {self._spec.history} samples; one is encoded at a time")
        self._publisher = node.create_publisher(CompressedImage, topic + TOKENS, qos.reliable(DEPTH))
        for text in contract.streams("text") if self._encoder.wanted.steered else ():
            node.create_subscription(String, text.topic, self._on_instruction, qos.LATCHED)

    def publish(self, value: npt.NDArray[Any], stamp: int) -> None:
        """Encode and publish a sample taken at `stamp` [ns], if someone wants it."""
        if not self._publisher.get_subscription_count():
            return
        self.problem = self._unfit(value)
        if self.problem:
            return
        began = time.perf_counter()
        tokens = self._encoder.encode(value, self._instruction)
        self._time.append(time.perf_counter() - began)
        self._publisher.publish(tokens_to_message(tokens, self._precision, stamp, self._frame))

    def values(self) -> dict[str, str]:
        """Return what is sent and how long it takes, for diagnostics."""
        wanted = self._encoder.wanted
        spent = f"{1e3 * float(np.median(self._time)):.1f}" if self._time else "nan"
        return {
            "tokens": f"{wanted.shape[0]}x{wanted.shape[1]} {self._precision} of {wanted.key}",
            "encoder": wanted.encoder,
            "encode_p50_ms": spent,
        }

    def _unfit(self, value: npt.NDArray[Any]) -> str:
        if value.shape != self._spec.shape:
            have, want = list(value.shape), list(self._spec.shape)
            return f"samples of {have} are not encoded: '{self._spec.key}' of the checkpoint is {want}; crop or resize"
        if self._encoder.wanted.steered and not self._instruction:
            return "nothing is encoded: the encoder waits for the instruction"
        return ""

    def _on_instruction(self, message: String) -> None:
        self._instruction = message.data


def token_output(node: Node, topic: str, frame: str, kind: str) -> TokenOutput | None:
    """Declare the parameter ``encoder`` and return the output that it asks for; None without one. Raises VlaRosError."""
    checkpoint = declare(node, "encoder", "", "checkpoint whose encoder makes tokens of the samples", read_only=True)
    return TokenOutput(node, topic, frame, kind, checkpoint) if checkpoint else None


def tokens_to_message(tokens: Tokens, precision: str, stamp: int, frame: str) -> CompressedImage:
    """Return the message of tokens made of a sample taken at `stamp` [ns]."""
    text, data = encode_message(tokens, precision)
    payload = array.array("B")  # the one type that rclpy takes without looking at every element
    payload.frombytes(data.data)
    message = CompressedImage(format=text, data=payload)
    message.header.stamp = to_time(stamp)
    message.header.frame_id = frame
    return message
