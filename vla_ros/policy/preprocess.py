"""The steps between an observation and the network's input; training and inference share the same list.

Array steps (numpy, one sample) run when frames are cached for training and when a live observation arrives.
Tensor steps (torch, a batch, on the device) run at every training step and at inference. Between the two,
training alone augments.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vla_ros.contract import Contract, StreamSpec
from vla_ros.errors import ObservationError, PolicyError
from vla_ros.policy.config import PolicyConfig
from vla_ros.policy.normaliser import Normaliser
from vla_ros.tokens import Tokens

ArrayStep = Callable[[Any], npt.NDArray[Any]]
TensorStep = Callable[[Tensor], Tensor]


class Resize:
    """uint8 [H, W, 3] to uint8 [h, w, 3], by area."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        """Return the small image."""
        if image.shape[:2] == self.size:
            return np.ascontiguousarray(image)
        import cv2  # where it is used: a policy without images does not need it

        return np.asarray(cv2.resize(image, self.size[::-1], interpolation=cv2.INTER_AREA), dtype=np.uint8)


class ResizeDepth:
    """Depth [H, W] in m to float32 [h, w], of the pixel at each new pixel's centre; 0 where nothing was measured.

    Depths are never averaged: between an edge and what lies behind it there is nothing.
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size

    def __call__(self, depth: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return the small picture."""
        rows, columns = (
            ((np.arange(new) + 0.5) * old / new).astype(int) for new, old in zip(self.size, depth.shape, strict=True)
        )
        small = np.asarray(depth)[rows[:, None], columns].astype(np.float32)
        return np.where(np.isfinite(small) & (small > 0.0), small, np.float32(0.0))


class Bytes:
    """Text to int64 [length]: lower case, single spaces, UTF-8, byte + 1, 0 as padding, the rest cut."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __call__(self, text: str) -> npt.NDArray[np.int64]:
        """Return the tokens."""
        data = " ".join(text.lower().split()).encode("utf-8")[: self.length]
        out = np.zeros(self.length, dtype=np.int64)
        out[: len(data)] = np.frombuffer(data, dtype=np.uint8).astype(np.int64) + 1
        return out


def to_float_array(value: Any) -> npt.NDArray[np.float32]:
    """Return float32, a copy."""
    return np.array(value, dtype=np.float32)


def image_to_float(images: Tensor) -> Tensor:
    """uint8 or float [B, h, w, 3] in 0..255 to float [B, 3, h, w] in [-1, 1], channels last in memory."""
    return (images.float() / 127.5 - 1.0).permute(0, 3, 1, 2)


class Preprocess:
    """The steps of every stream that a policy reads."""

    def __init__(self, config: PolicyConfig, contract: Contract, normaliser: Normaliser) -> None:
        inputs = config.inputs(contract)
        self.streams = tuple(stream for stream, _ in inputs)
        self.optional = {s.key for s in self.streams if config.is_optional(s.key)}
        self.array_steps: dict[str, ArrayStep] = {}
        self.tensor_steps: dict[str, TensorStep] = {}
        for stream, settings in inputs:
            self.array_steps[stream.key] = array_step(stream, settings)
            self.tensor_steps[stream.key] = self._tensor_step(stream, normaliser)

    def arrays(self, values: Mapping[str, Any], invalid: Mapping[str, str]) -> dict[str, npt.NDArray[Any]]:
        """Return the array steps' results for one observation's values, without the optional streams it
        lacks and those that come as tokens.

        Raises ObservationError naming a stream that is needed and missing or invalid.
        """
        out = {}
        for key, step in self.array_steps.items():
            if key in invalid or key not in values:
                if key in self.optional:
                    continue
                raise ObservationError(f"the policy needs '{key}': {invalid.get(key, 'absent from the observation')}")
            if not isinstance(values[key], Tokens):
                out[key] = step(values[key])
        return out

    def tensors(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return the network's inputs for a batch of array-step results."""
        return {key: self.tensor_steps[key](value) for key, value in batch.items()}

    @staticmethod
    def _tensor_step(stream: StreamSpec, normaliser: Normaliser) -> TensorStep:
        if stream.kind == "image":
            return image_to_float
        if stream.kind in ("text", "depth"):
            return lambda value: value
        return lambda value: normaliser.normalise(stream.key, value)


def array_step(stream: StreamSpec, settings: Any) -> ArrayStep:
    """Return the array step of a stream for an encoder with these settings.

    Images and depth are brought to the settings' `size`; text becomes tokens by their `text_step`, or bytes.
    """
    if stream.kind == "image":
        return Resize(settings.size)
    if stream.kind == "depth":
        return ResizeDepth(settings.size)
    if stream.kind == "text":
        return settings.text_step(stream) if hasattr(settings, "text_step") else Bytes(settings.max_bytes)
    if stream.kind in ("joints", "wrench", "taxels", "pose"):
        return to_float_array
    raise PolicyError(f"no preprocessing for '{stream.key}' of kind '{stream.kind}'")


def batch_of_one(arrays: Mapping[str, npt.NDArray[Any]], device: torch.device) -> dict[str, Tensor]:
    """Return the arrays as tensors with a batch axis of one."""
    return {key: torch.from_numpy(value).to(device).unsqueeze(0) for key, value in arrays.items()}
