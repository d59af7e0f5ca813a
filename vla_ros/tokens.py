"""Tokens that were made beside the sensor and travel in place of what it saw.

On the wire: sensor_msgs/CompressedImage on the stream's topic + ``/tokens``, stamped with the capture of what was encoded.
``format`` says what ``data`` is: ``tokens 81x96 float32 encoder=0f3a... instruction=77b1...``, row by row, little endian.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.contract_spec import TOKENS, Contract
from vla_ros.errors import ContractError, ObservationError, unknown_name

MARK_LENGTH = 16  # hexadecimal digits
PRECISIONS = ("float32", "float16")
_FORMAT = re.compile(r"tokens (\d+)x(\d+) (float32|float16) encoder=([0-9a-f]+) instruction=([0-9a-f]*)")


@dataclass(frozen=True)
class Tokens:
    """One sample of a stream as its encoder's tokens.

    values: float32 [T, width]. encoder: mark of the weights and settings that made them. instruction: mark of the
    words under which they were made; "" where tokens do not depend on them.
    """

    values: npt.NDArray[np.float32]
    encoder: str
    instruction: str = ""


@dataclass(frozen=True)
class TokensWanted:
    """What tokens of a stream a policy takes: of this shape [T, width] and encoder, steered by the words or not."""

    key: str
    shape: tuple[int, int]
    encoder: str
    steered: bool

    def check(self, tokens: Tokens) -> None:
        """Raise ObservationError unless the policy can take these."""
        if tokens.encoder != self.encoder:
            raise ObservationError(
                f"{self.key}: tokens of encoder {tokens.encoder}, but the policy's is {self.encoder}: "
                "give the sensor's node the policy's checkpoint"
            )
        if tokens.values.shape != self.shape:
            raise ObservationError(
                f"{self.key}: tokens of shape {list(tokens.values.shape)}, the policy wants {list(self.shape)}"
            )
        if bool(tokens.instruction) != self.steered:
            made, want = ("with", "without") if tokens.instruction else ("without", "with")
            raise ObservationError(f"{self.key}: tokens made {made} an instruction, the policy wants them {want} one")


def instruction_mark(text: str) -> str:
    """Return the mark of an instruction."""
    return hashlib.sha256(text.encode()).hexdigest()[:MARK_LENGTH]


def outdated(values: Any, task: str) -> dict[str, str]:
    """Return the streams, and why, whose tokens were made under other words than `task`."""
    mark = instruction_mark(task)
    return {
        key: "encoded under another instruction"
        for key, value in values.items()
        if isinstance(value, Tokens) and value.instruction not in ("", mark)
    }


def encode_message(tokens: Tokens, precision: str) -> tuple[str, npt.NDArray[np.uint8]]:
    """Return (format, data) of a CompressedImage that carries `tokens` as "float32" or "float16"."""
    rows, width = tokens.values.shape
    data = np.ascontiguousarray(tokens.values.astype(np.dtype(precision).newbyteorder("<")))
    text = f"tokens {rows}x{width} {precision} encoder={tokens.encoder} instruction={tokens.instruction}"
    return text, data.reshape(-1).view(np.uint8)


def tokens_from_message(message: Any) -> Tokens:
    """Return the tokens of a CompressedImage. Raises ObservationError where it carries something else."""
    found = _FORMAT.fullmatch(message.format)
    if found is None:
        raise ObservationError(f"a message of format '{message.format[:80]}' carries no tokens")
    rows, width, precision = int(found[1]), int(found[2]), np.dtype(found[3]).newbyteorder("<")
    data = np.frombuffer(message.data, dtype=np.uint8)
    if data.size != rows * width * precision.itemsize:
        raise ObservationError(
            f"tokens {rows}x{width} {found[3]} in {data.size} bytes, want {rows * width * precision.itemsize}"
        )
    values = data.view(precision).reshape(rows, width).astype(np.float32)
    if not np.isfinite(values).all():
        raise ObservationError(f"tokens {rows}x{width} with a number that is not finite")
    return Tokens(values, found[4], found[5])


def with_tokens(contract: Contract, keys: Collection[str]) -> Contract:
    """Return the contract with these streams coming as tokens. Raises ContractError for a key that it lacks."""
    streams = dict(contract.observation)
    for key in keys:
        if key not in streams:
            raise ContractError(f"tokens: {unknown_name('stream', key, streams)} in {contract.source}")
        if not streams[key].is_tokens:
            streams[key] = replace(streams[key], topic=streams[key].topic + TOKENS)
    return replace(contract, observation=streams)
