"""Training samples, drawn and augmented on the training device."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from vla_ros.train.config import TrainingConfig


@dataclass(frozen=True)
class Batch:
    """Raw streams by key (array-step results, images float [B, h, w, 3]), and the chunk that was
    demonstrated.

    actions: [B, H, D] in physical units; valid: bool [B, H]; present: bool [B] for each optional stream.
    """

    streams: dict[str, Tensor]
    actions: Tensor
    valid: Tensor
    present: dict[str, Tensor]
    goals: Tensor  # [B, D] in physical units: the action at the next keyframe
    aims: Mapping[str, Tensor] = field(
        default_factory=dict
    )  # [B, 2] by camera: where the tool is seen at that keyframe


@dataclass(frozen=True)
class Rows:
    """All rows of a dataset.

    images: uint8 [N, h, w, 3] by key. numbers: float32 [N, ...] by key. text: readings of each instruction,
    int64 [tasks, readings, L], reading 0 as recorded, under `text_key`. task: int64 [N]. actions: float32
    [N, D].
    end: int64 [N], the row after the episode's last.
    """

    images: Mapping[str, Tensor]
    numbers: Mapping[str, Tensor]
    text_key: str | None
    text: Tensor
    task: Tensor
    actions: Tensor
    end: Tensor
    goals: Tensor  # float32 [N, D]
    present: Mapping[str, Tensor] = field(default_factory=dict)  # bool [N] of optional streams: fresh when recorded
    aims: Mapping[str, Tensor] = field(default_factory=dict)  # float32 [N, 2], NaN where out of the picture

    def to(self, device: torch.device, images: bool) -> Rows:
        """Return the rows on a device; the images only if `images`."""
        return Rows(
            {k: v.to(device) if images else v for k, v in self.images.items()},
            {k: v.to(device) for k, v in self.numbers.items()},
            self.text_key,
            self.text.to(device),
            self.task.to(device),
            self.actions.to(device),
            self.end.to(device),
            self.goals.to(device),
            {k: v.to(device) for k, v in self.present.items()},
            {k: v.to(device) for k, v in self.aims.items()},
        )


class Sampler:
    """Draws batches of random rows. All randomness comes from torch's default generator of the device."""

    def __init__(
        self,
        rows: Rows,
        chunk: int,
        config: TrainingConfig,
        optional: set[str],
        drop: float,
        device: torch.device,
    ) -> None:
        self.rows = rows
        self.config = config
        self.optional = optional
        self.drop = drop
        self.device = device
        self._steps = torch.arange(chunk, device=device)
        self._early: tuple[Tensor, Tensor] | None = None  # the rows last drawn among, and the early ones of them

    def draw(self, among: Tensor, count: int, scale: float = 1.0) -> Batch:
        """Return `count` augmented samples of the rows `among`, int64 [n], drawn with replacement.

        scale: of the share `early`.
        """
        index = among[torch.randint(len(among), (count,), device=self.device)]
        if self.config.early > 0.0:
            begun = self._beginnings(among)
            other = begun[torch.randint(len(begun), (count,), device=self.device)]
            index = torch.where(torch.rand(count, device=self.device) < scale * self.config.early, other, index)
        reading = torch.randint(self.rows.text.shape[1], (count,), device=self.device)
        reading = reading * (torch.rand(count, device=self.device) < self.config.paraphrase)
        streams = {key: self._augmented(images, index) for key, images in self.rows.images.items()}
        present = {key: torch.rand(count, device=self.device) >= self.drop for key in sorted(self.optional)}
        for key, fresh in self.rows.present.items():
            present[key] &= fresh[index]
        return self._batch(index, streams, reading, present)

    def _beginnings(self, among: Tensor) -> Tensor:
        """Return those of the rows `among` that lie near the start of their episode."""
        if self._early is None or self._early[0] is not among:
            ends = torch.unique(self.rows.end)
            starts = torch.cat([ends.new_zeros(1), ends[:-1]])
            since = among - starts[torch.searchsorted(ends, among, right=True)]
            self._early = (among, among[since < self.config.early_rows])
        return self._early[1]

    def at(self, index: Tensor) -> Batch:
        """Return the samples of rows `index`, int64 [B], as inference sees them."""
        streams = {key: images[index.to(images.device)].to(self.device) for key, images in self.rows.images.items()}
        return self._batch(index, streams, torch.zeros_like(index), {})

    def _batch(self, index: Tensor, streams: dict[str, Tensor], reading: Tensor, present: dict[str, Tensor]) -> Batch:
        rows = self.rows
        streams |= {key: values[index] for key, values in rows.numbers.items()}
        if rows.text_key is not None:
            streams[rows.text_key] = rows.text[rows.task[index], reading]
        end = rows.end[index][:, None]
        wanted = index[:, None] + self._steps
        valid = wanted < end
        actions = rows.actions[torch.minimum(wanted, end - 1)]
        if self.config.end == "hold":
            valid = torch.ones_like(valid)
        aims = {key: places[index] for key, places in rows.aims.items()}
        return Batch(streams, actions, valid, present, rows.goals[index], aims)

    def _augmented(self, images: Tensor, index: Tensor) -> Tensor:
        count, width = len(index), images.shape[2]
        limit = round(self.config.shift * width)
        offsets = torch.randint(-limit, limit + 1, (2, count), device=self.device)
        shifted = shift_on_cpu if images.device.type == "cpu" else shift_on_device
        x = (
            shifted(images, index.to(images.device), offsets.to(images.device))
            .to(self.device, non_blocking=True)
            .float()
        )
        gain = 1.0 + self.config.contrast * (2.0 * torch.rand(count, 1, 1, 1, device=self.device) - 1.0)
        bias = 255.0 * self.config.brightness * (torch.rand(count, 1, 1, 1, device=self.device) - 0.5)
        return (x * gain + (bias + 127.5 * (1.0 - gain))).clamp_(0.0, 255.0)


def shift_on_device(images: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    """Return rows `index` [B] of images [N, h, w, 3], moved by offsets [2, B] (down, right) pixels, edges
    repeated."""
    height, width = images.shape[1:3]
    y = (torch.arange(height, device=images.device) - offsets[0, :, None]).clamp_(0, height - 1)
    x = (torch.arange(width, device=images.device) - offsets[1, :, None]).clamp_(0, width - 1)
    return images[index[:, None, None], y[:, :, None], x[:, None, :]]


def shift_on_cpu(images: Tensor, index: Tensor, offsets: Tensor) -> Tensor:
    """As `shift_on_device`, sample by sample: on a CPU that is many times faster than one gather of
    pixels."""
    source: npt.NDArray[np.uint8] = images.numpy()
    out = np.empty((len(index), *source.shape[1:]), dtype=np.uint8)
    height, width = source.shape[1:3]
    rows, columns = np.arange(height), np.arange(width)
    for sample, (row, down, right) in enumerate(zip(index.tolist(), *offsets.tolist(), strict=True)):
        y = (rows - down).clip(0, height - 1)
        x = (columns - right).clip(0, width - 1)
        out[sample] = source[row].take(y, axis=0).take(x, axis=1)
    return torch.from_numpy(out)
