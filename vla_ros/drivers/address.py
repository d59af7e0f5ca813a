"""Where a device is, in one line: ``netft://192.168.1.1``, ``uvc:///dev/video0?width=640``, ``ft300:///dev/ttyUSB0``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from urllib.parse import parse_qsl, urlsplit

from vla_ros.errors import DeviceError, unknown_name


@dataclass(frozen=True)
class Address:
    """``device://host:port/path?option=value``; every part but the device may be left out."""

    text: str
    device: str
    host: str = ""
    port: int | None = None
    path: str = ""
    options: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read an address; a name alone, "netft", is one too. Raises DeviceError."""
        try:
            parts = urlsplit(text if ":" in text else f"{text}://")
            host, port = parts.hostname or "", parts.port
            options = dict(parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query)))
        except ValueError as error:
            raise DeviceError(f"device address '{text}': {error}; want device://host:port/path?option=value") from None
        if not parts.scheme:
            raise DeviceError(f"device address '{text}' names no device; want device://host:port/path?option=value")
        return cls(text, parts.scheme, host, port, parts.path, options)

    def only(self, *names: str) -> None:
        """Raise DeviceError for an option that is not one of `names`."""
        for name in self.options:
            if name not in names:
                raise DeviceError(f"{self.text}: {unknown_name('option', name, names)}")

    def text_of(self, name: str, default: str, valid: Iterable[str] | None = None) -> str:
        """Return an option as text; DeviceError if it is not one of `valid`."""
        value = self.options.get(name, default)
        if valid is not None and value not in (names := sorted(valid)):
            raise DeviceError(f"{self.text}: {unknown_name(name, value, names)}")
        return value

    def number(self, name: str, default: float, low: float, high: float) -> float:
        """Return an option as a number; DeviceError if it is none or outside [low, high]."""
        text = self.options.get(name, str(default))
        try:
            value = float(text)
        except ValueError:
            value = float("nan")
        if not low <= value <= high:
            raise DeviceError(f"{self.text}: {name} is '{text}', want a number from {low:g} to {high:g}")
        return value

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        """Return an option as a whole number; DeviceError if it is none or outside [low, high]."""
        value = self.number(name, default, low, high)
        if value != int(value):
            raise DeviceError(f"{self.text}: {name} is '{self.options[name]}', want a whole number")
        return int(value)
