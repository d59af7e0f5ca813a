"""Typed reading of one mapping of a YAML file, with errors that name the key, the file and the valid values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, overload

from vla_ros.errors import ContractError, unknown_name

_REQUIRED: Any = object()


class Section:
    """One mapping of the file. Every read key is ticked off; `finish` refuses the keys that nobody read."""

    def __init__(self, data: Any, where: str) -> None:
        self.where = where
        if not isinstance(data, Mapping):
            raise ContractError(f"{where}: want a mapping, got {type(data).__name__} {data!r}")
        self._data = dict(data)
        self._read: set[str] = set()

    def keys(self) -> list[str]:
        """Return the keys, in the file's order."""
        return [str(key) for key in self._data]

    def finish(self) -> None:
        """Raise ContractError if the file holds a key that was never asked for."""
        for key in self._data:
            if key not in self._read:
                raise ContractError(f"{self.where}: {unknown_name('key', str(key), self._read)}")

    def section(self, key: str) -> Section:
        """Return the mapping under `key`."""
        return Section(self._get(key), self._at(key))

    def text(self, key: str, default: str = _REQUIRED) -> str:
        """Return a string."""
        value = self._get(key, default)
        if not isinstance(value, str):
            raise ContractError(f"{self._at(key)}: want text, got {value!r}")
        return value

    def topic(self, key: str) -> str:
        """Return an absolute ROS topic name."""
        value = self.text(key)
        if not value.startswith("/") or len(value) < 2 or " " in value:
            raise ContractError(f"{self._at(key)}: '{value}' is not an absolute topic name such as '/joint_states'")
        return value

    def choice(self, key: str, valid: Sequence[str], default: str = _REQUIRED) -> str:
        """Return a string that must be one of `valid`."""
        value = self.text(key, default)
        if value not in valid:
            raise ContractError(f"{self._at(key)}: {unknown_name('value', value, valid)}")
        return value

    @overload
    def number(self, key: str, default: float = ..., *, positive: bool = ...) -> float: ...
    @overload
    def number(self, key: str, default: None, *, positive: bool = ...) -> float | None: ...
    def number(self, key: str, default: float | None = _REQUIRED, *, positive: bool = False) -> float | None:
        """Return a finite number >= 0, or > 0 if `positive`."""
        value = self._get(key, default)
        if value is None and default is None:
            return None
        return self._number(value, self._at(key), positive)

    def number_or_map(self, key: str) -> float | dict[str, float]:
        """Return one positive number, or a mapping of joint names to positive numbers."""
        value = self._get(key)
        if isinstance(value, Mapping):
            return {str(k): self._number(v, f"{self._at(key)}.{k}", True) for k, v in value.items()}
        return self._number(value, self._at(key), True)

    def names(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """Return a non-empty list of distinct strings, or `default` where it is given and the key is absent."""
        value = self._get(key, _REQUIRED if default is None else default)
        if value == default and default is not None:
            return default
        if (
            not isinstance(value, Sequence)
            or isinstance(value, str)
            or not value
            or not all(isinstance(v, str) for v in value)
        ):
            raise ContractError(f"{self._at(key)}: want a list of names, got {value!r}")
        twice = [v for v in value if list(value).count(v) > 1]
        if twice:
            raise ContractError(f"{self._at(key)}: '{twice[0]}' stands there twice")
        return tuple(value)

    def shape(self, key: str, default: tuple[int, ...] | None = None) -> tuple[int, ...]:
        """Return a list of positive integers."""
        value = self._get(key, _REQUIRED if default is None else default)
        if not isinstance(value, Sequence) or not all(
            isinstance(v, int) and not isinstance(v, bool) and v > 0 for v in value
        ):
            raise ContractError(f"{self._at(key)}: want a list of positive integers, got {value!r}")
        return tuple(value)

    def intervals(self, key: str, axes: tuple[str, ...]) -> tuple[tuple[float, float], ...] | None:
        """Return one (low, high) pair per axis, or None where the key is absent."""
        value = self._get(key, None)
        if value is None:
            return None
        where = self._at(key)
        if (
            not isinstance(value, Sequence)
            or len(value) != len(axes)
            or not all(isinstance(v, Sequence) and len(v) == 2 for v in value)
        ):
            raise ContractError(f"{where}: want [low, high] for each of {', '.join(axes)}, got {value!r}")
        pairs = []
        for axis, (low, high) in zip(axes, value, strict=True):
            lo, hi = self._finite(low, where), self._finite(high, where)
            if lo >= hi:
                raise ContractError(f"{where}: {axis} is [{lo}, {hi}], want low < high")
            pairs.append((lo, hi))
        return tuple(pairs)

    def _get(self, key: str, default: Any = _REQUIRED) -> Any:
        self._read.add(key)
        if key in self._data:
            return self._data[key]
        if default is _REQUIRED:
            raise ContractError(f"{self.where}: key '{key}' is missing; given: {', '.join(map(str, self._data))}")
        return default

    def _at(self, key: str) -> str:
        return f"{self.where}: {key}" if ": " not in self.where else f"{self.where}.{key}"

    def _number(self, value: Any, where: str, positive: bool) -> float:
        number = self._finite(value, where)
        if number < 0 or (positive and number == 0):
            raise ContractError(f"{where}: {value!r} is not a {'positive' if positive else 'non-negative'} number")
        return number

    @staticmethod
    def _finite(value: Any, where: str) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise ContractError(f"{where}: {value!r} is not a finite number")
        return float(value)
