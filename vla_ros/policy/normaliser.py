"""Mean and standard deviation per key: physical units to numbers near one, and back."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from vla_ros.errors import CheckpointError, PolicyError, unknown_name

SMALLEST_STD = 1e-3  # of a value that hardly moves [rad, m, N]: its noise is not blown up to a signal


class Normaliser:
    """value -> (value - mean) / std, for each key; statistics broadcast against the value's last axes."""

    def __init__(self, stats: Mapping[str, tuple[Tensor, Tensor]]) -> None:
        self._stats = {key: (mean.float(), std.float()) for key, (mean, std) in stats.items()}

    @staticmethod
    def fit(values: Mapping[str, npt.NDArray[np.floating]]) -> Normaliser:
        """Return a normaliser from samples [N, ...] of each key, one statistic per element of a sample."""
        stats = {}
        for key, samples in values.items():
            if len(samples) == 0:
                raise PolicyError(f"normaliser: no samples of '{key}'")
            mean = np.nanmean(samples, axis=0, dtype=np.float64)
            std = np.maximum(np.nanstd(samples, axis=0, dtype=np.float64), SMALLEST_STD)
            stats[key] = (torch.from_numpy(np.asarray(mean)), torch.from_numpy(np.asarray(std)))
        return Normaliser(stats)

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys it knows."""
        return tuple(self._stats)

    def to(self, device: torch.device) -> Normaliser:
        """Return the same statistics on a device."""
        return Normaliser({key: (mean.to(device), std.to(device)) for key, (mean, std) in self._stats.items()})

    def joined(self, other: Normaliser) -> Normaliser:
        """Return these statistics and those keys of `other` that are not among them."""
        return Normaliser({**other._stats, **self._stats})

    def normalise(self, key: str, value: Tensor) -> Tensor:
        """Return the value of `key` without unit, float32."""
        mean, std = self._get(key)
        return (value.float() - mean) / std

    def restore(self, key: str, value: Tensor) -> Tensor:
        """Return the normalised value of `key` in its physical unit, float32."""
        mean, std = self._get(key)
        return value.float() * std + mean

    def spread(self, key: str) -> Tensor:
        """Return the standard deviation of `key`, in its physical unit."""
        return self._get(key)[1]

    def statistics(self, key: str) -> tuple[Tensor, ...]:
        """Return mean and standard deviation of `key`; nothing for a key that is not normalised."""
        return self._stats.get(key, ())

    def save(self, path: Path) -> None:
        """Write safetensors with keys ``<key>.mean`` and ``<key>.std``."""
        tensors = {
            f"{key}.{name}": t.cpu().contiguous()
            for key, stat in self._stats.items()
            for name, t in zip(("mean", "std"), stat, strict=True)
        }
        save_file(tensors, path)

    @staticmethod
    def load(path: Path) -> Normaliser:
        """Read what `save` wrote. Raises CheckpointError."""
        try:
            tensors = load_file(path)
            keys = {name.rsplit(".", 1)[0] for name in tensors}
            return Normaliser({key: (tensors[f"{key}.mean"], tensors[f"{key}.std"]) for key in sorted(keys)})
        except (OSError, KeyError, SafetensorError) as error:
            raise CheckpointError(f"normaliser '{path}' cannot be read: {' '.join(str(error).split())}") from None

    def _get(self, key: str) -> tuple[Tensor, Tensor]:
        if key not in self._stats:
            raise PolicyError(f"normaliser: {unknown_name('key', key, self._stats)}")
        return self._stats[key]
