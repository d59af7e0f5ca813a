"""Feeding an aligner from the topics of a contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.subscription import Subscription

from vla_ros.contract import Contract, StreamSpec
from vla_ros.errors import ObservationError
from vla_ros.ros import qos
from vla_ros.ros.convert import decoder_for, msg_type_for

BUFFERED = 0.6  # [s] a slow consumer loses nothing for this long


class SampleSink(Protocol):
    """What takes samples: an Aligner, or something in front of one."""

    def push(self, key: str, stamp: int, value: Any) -> bool:
        """Take a sample of stream `key`, stamped `stamp` [ns]; False: passed over. ObservationError when it does not fit."""


def observe(
    node: Node,
    contract: Contract,
    aligner: SampleSink,
    callback_group: CallbackGroup | None = None,
    lockstep: bool = False,
    on_sample: Callable[[str, int], None] | None = None,
    on_error: Callable[[str, str], None] | None = None,
    check: Callable[[str, Any], None] | None = None,
) -> list[Subscription]:
    """Subscribe to every stream of the contract and push what arrives into ``aligner``.

    lockstep: the publishers are in lockstep with this node, so nothing may be missed. on_sample(key, stamp [ns])
        is called after each accepted sample; on_error(key, message) when a message does not fit the contract
        (by default a warning, once in 2 s). check(key, value) may refuse a value with an ObservationError.

    Simulated text counts as said at time 0, since a String has no stamp and the clock may lag behind it.
    """
    simulated = bool(node.get_parameter("use_sim_time").value)

    def now() -> int:
        return 0 if simulated else int(node.get_clock().now().nanoseconds)

    def warn(key: str, message: str) -> None:
        node.get_logger().warning(message, throttle_duration_sec=2.0)

    def receiver(spec: StreamSpec) -> Callable[[Any], None]:
        decode = decoder_for(spec, now)

        def receive(message: Any) -> None:
            try:
                stamp, value = decode(message)
                if check is not None:
                    check(spec.key, value)
                taken = aligner.push(spec.key, stamp, value)
            except ObservationError as error:
                (on_error or warn)(spec.key, str(error))
                return
            if taken and on_sample is not None:
                on_sample(spec.key, stamp)

        return receive

    return [
        node.create_subscription(
            msg_type_for(spec.kind, spec.topic),
            spec.topic,
            receiver(spec),
            stream_profile(spec, simulated, lockstep),
            callback_group=callback_group,
        )
        for spec in contract.observation.values()
    ]


def stream_profile(spec: StreamSpec, reliable: bool, lockstep: bool) -> Any:
    """Return the quality of service with which a stream of the contract is subscribed to."""
    if spec.kind == "text":
        return qos.LATCHED
    return qos.sensor(max(5, math.ceil(spec.rate * BUFFERED)), reliable, lockstep)
