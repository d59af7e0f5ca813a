"""Encoding at the edge, measured: the bandwidth that tokens save, and whether the policy acts on them as on pixels."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.serialization import serialize_message

from vla_ros.contract import Contract, StreamSpec
from vla_ros.emulators.clip import write_clip
from vla_ros.errors import GraphError, ObservationError, PolicyError
from vla_ros.messages import decoder_for
from vla_ros.observation import Observation
from vla_ros.policy import Policy, load_policy
from vla_ros.policy.edge import tokens_wanted
from vla_ros.ros import qos
from vla_ros.ros.bench import START_DEADLINE, machine, node_spun_aside
from vla_ros.ros.convert import msg_type_for
from vla_ros.ros.graph import NodeSpec
from vla_ros.ros.up import Graph
from vla_ros.tokens import PRECISIONS, with_tokens

TASK = "place the red cube into the bin"
CAMERA_TOPIC = "/color/image_raw"  # of camera_node, after its name
PAIRS = 50  # observations on which actions are compared, the most


class _Topic:
    """One stream as it comes over a topic: values by stamp, and the size of a message [bytes]."""

    def __init__(self, node: Node, spec: StreamSpec) -> None:
        self.spec, self.size, self.received = spec, 0, 0
        self.values: dict[int, Any] = {}
        self._decode = decoder_for(spec)
        kind = msg_type_for(spec.kind, spec.topic)
        node.create_subscription(kind, spec.topic, self._take, qos.reliable(10))

    def _take(self, message: Any) -> None:
        self.size = self.size or len(serialize_message(message))
        self.received += 1
        if len(self.values) < 4 * PAIRS:
            stamp, value = self._decode(message)
            self.values[stamp] = value


def edge(checkpoint: Path, seconds: float = 10.0) -> None:
    """Print bytes a second of pixels and of tokens, and how far the actions made of the two are apart."""
    policy = load_policy(checkpoint)
    contract = policy.contract
    cameras = {s.key: s for s in contract.streams("image") if _can_be_encoded(policy, s)}
    if not cameras:
        raise PolicyError(f"checkpoint '{checkpoint}' reads no picture of a camera_node that could be encoded apart")
    print(machine())
    with tempfile.TemporaryDirectory(prefix="vla_ros_bench_") as scratch:
        films = {}
        for key, spec in cameras.items():
            height, width, _ = spec.shape
            films[key] = write_clip(Path(scratch) / f"{width}x{height}.mp4", (width, height), round(spec.rate), 90)
        for precision in PRECISIONS:
            _measure(checkpoint, policy, films, precision, seconds)


def _measure(checkpoint: Path, policy: Policy, films: dict[str, str], precision: str, seconds: float) -> None:
    contract = policy.contract
    settings = {"encoder": str(checkpoint.resolve()), "instruction": TASK, "token_type": precision}
    module = "vla_ros.ros.nodes.camera_node"
    names = {key: contract.observation[key].topic[1:].removesuffix(CAMERA_TOPIC) for key in films}
    specs = [NodeSpec(names[key], module, {"device": film, "stream": key, **settings}) for key, film in films.items()]
    encoded = with_tokens(contract, films)
    with Graph(specs) as graph, node_spun_aside() as node:
        graph.wait_ready()
        pixels = {key: _Topic(node, contract.observation[key]) for key in films}
        tokens = {key: _Topic(node, encoded.observation[key]) for key in films}
        end = time.monotonic() + START_DEADLINE
        while not all(_common(pixels[key], tokens[key]) for key in films):
            graph.check()
            if time.monotonic() > end:
                raise GraphError(f"no pictures with tokens of the same stamp within {START_DEADLINE:.0f} s")
            time.sleep(0.05)
        time.sleep(seconds)
        graph.check()
    for key in films:
        _print_bandwidth(pixels[key], tokens[key], precision)
    _print_agreement(policy, pixels, tokens, precision)


def _print_bandwidth(pixels: _Topic, tokens: _Topic, precision: str) -> None:
    rate = pixels.spec.rate
    sent, saved = 1e-3 * rate * tokens.size, 1.0 - tokens.size / pixels.size
    print(
        f"{pixels.spec.key}: pixels {pixels.size} bytes a message, {1e-6 * rate * pixels.size:.2f} MB/s at {rate:g} Hz; "
        f"tokens {precision} {tokens.size} bytes, {sent:.2f} kB/s: {saved:.2%} saved, 1/{pixels.size / tokens.size:.0f} "
        f"({pixels.received} and {tokens.received} messages)"
    )


def _print_agreement(policy: Policy, pixels: dict[str, _Topic], tokens: dict[str, _Topic], precision: str) -> None:
    rest = _rest(policy.contract)
    stamps = {key: _common(pixels[key], tokens[key])[:PAIRS] for key in pixels}
    worst, moved, count = 0.0, 0.0, min(len(some) for some in stamps.values())
    first = None
    for pair in range(count):
        seen = [{key: topics[key].values[stamps[key][pair]] for key in topics} | rest for topics in (pixels, tokens)]
        by_pixels, by_tokens = (policy.predict(Observation(pair, values)).values for values in seen)
        first = by_pixels if first is None else first
        worst = max(worst, float(np.abs(by_pixels - by_tokens).max()))
        moved = max(moved, float(np.abs(by_pixels - first).max()))
    print(
        f"actions made of {precision} tokens and of pixels differ by {worst:.1e} rad or m at the most ({count} pairs of "
        f"observations, over which the actions themselves change by {moved:.1e})"
    )


def _can_be_encoded(policy: Policy, spec: StreamSpec) -> bool:
    try:
        tokens_wanted(policy, spec.key)
    except PolicyError:
        return False
    return spec.topic.endswith(CAMERA_TOPIC)


def _common(pixels: _Topic, tokens: _Topic) -> list[int]:
    """Return the stamps of which there are both, in order."""
    return sorted(pixels.values.keys() & tokens.values.keys())


def _rest(contract: Contract) -> dict[str, Any]:
    """Return a value for every stream but the pictures."""
    if contract.streams("depth"):
        raise ObservationError(
            "bench edge knows no scene with depth; want a checkpoint of a robot without depth cameras"
        )
    rng = np.random.default_rng(0)
    values: dict[str, Any] = {
        s.key: rng.normal(size=s.value_shape).astype(np.float32) for s in contract.streams("joints", "wrench", "taxels")
    }
    return values | {s.key: TASK for s in contract.streams("text")}
