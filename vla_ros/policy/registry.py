"""Parts by name: strict configuration sections and the registries that turn them into modules.

A part's section names its `type`; the rest of the section fills that type's frozen dataclass, which refuses
unknown keys and values of the wrong type. A wrong name suggests the nearest right one.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from vla_ros.errors import PolicyError, unknown_name

C = TypeVar("C")
T = TypeVar("T")


@dataclass(frozen=True)
class Part:
    """A part as configured: its registered name and its frozen settings."""

    type: str
    settings: Any

    def plain(self) -> dict[str, Any]:
        """Return the section as plain YAML data, defaults written out."""
        return {"type": self.type, **plain(self.settings)}


class Registry(Generic[T]):
    """Classes of one kind of part, each with the dataclass of its settings."""

    def __init__(self, what: str) -> None:
        self.what = what
        self._entries: dict[str, tuple[type[Any], type[T]]] = {}

    def register(self, name: str, settings: type[Any]) -> Callable[[type[T]], type[T]]:
        """Return a class decorator that makes a part available as `type: name`."""

        def add(cls: type[T]) -> type[T]:
            self._entries[name] = (settings, cls)
            return cls

        return add

    def parse(self, data: Any, where: str) -> Part:
        """Return the part that section `data` configures.

        Raises PolicyError naming `where` and the valid values.
        """
        if not isinstance(data, Mapping) or "type" not in data:
            raise PolicyError(
                f"{where}: want a mapping with 'type', one of {', '.join(sorted(self._entries))}; got {data!r}"
            )
        name = str(data["type"])
        settings, _ = self._entry(name, where)
        return Part(name, strict(settings, {k: v for k, v in data.items() if k != "type"}, where, self))

    def get(self, part: Part) -> type[T]:
        """Return the class of a configured part."""
        return self._entry(part.type, self.what)[1]

    @property
    def names(self) -> tuple[str, ...]:
        """Every registered name, sorted."""
        return tuple(sorted(self._entries))

    def _entry(self, name: str, where: str) -> tuple[type[Any], type[T]]:
        if name not in self._entries:
            raise PolicyError(f"{where}.type: {unknown_name(self.what, name, self._entries)}")
        return self._entries[name]


def strict(cls: type[C], data: Any, where: str, parts: Registry[Any] | None = None) -> C:
    """Return the frozen dataclass `cls` filled from mapping `data`, refusing unknown keys and wrong types.

    parts: what a field of type Part is parsed with.
    """
    if not isinstance(data, Mapping):
        raise PolicyError(f"{where}: want a mapping, got {data!r}")
    hints = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    for key in data:
        if key not in fields:
            raise PolicyError(f"{where}: {unknown_name('key', str(key), fields)}")
    for name, field in fields.items():
        required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
        if required and name not in data:
            raise PolicyError(f"{where}: key '{name}' is missing; valid: {', '.join(sorted(fields))}")
    values = {key: _value(hints[key], value, f"{where}.{key}", parts) for key, value in data.items()}
    try:
        return cls(**values)
    except ValueError as error:
        raise PolicyError(f"{where}: {error}") from None


def plain(settings: Any) -> dict[str, Any]:
    """Return a settings dataclass as plain YAML data (tuples become lists)."""
    return {f.name: _plain_value(getattr(settings, f.name)) for f in dataclasses.fields(settings)}


def _plain_value(value: Any) -> Any:
    if isinstance(value, Part):
        return value.plain()
    if dataclasses.is_dataclass(value):
        return plain(value)
    if isinstance(value, Mapping):
        return {k: _plain_value(v) for k, v in value.items()}
    return [_plain_value(v) for v in value] if isinstance(value, (tuple, list)) else value


def _value(hint: Any, value: Any, where: str, parts: Registry[Any] | None = None) -> Any:
    if hint is Part and parts is not None:
        return parts.parse(value, where)
    if dataclasses.is_dataclass(hint):
        return strict(typing.cast("type[Any]", hint), value, where, parts)
    if typing.get_origin(hint) is tuple:
        args = typing.get_args(hint)
        if not isinstance(value, (list, tuple)):
            raise PolicyError(f"{where}: want a list, got {value!r}")
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(_value(args[0], v, where) for v in value)
        if len(value) != len(args):
            raise PolicyError(f"{where}: want {len(args)} values, got {value!r}")
        return tuple(_value(a, v, where) for a, v in zip(args, value, strict=True))
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint in (int, str, bool) and type(value) is hint:
        return value
    raise PolicyError(f"{where}: want {getattr(hint, '__name__', hint)}, got {value!r}")
