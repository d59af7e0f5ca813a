"""Intel RealSense by librealsense: ``realsense://SERIAL?width=640&height=480&fps=30&depth=aligned&exposure=8``.

The serial may be left out where one camera is plugged in. Only the colour and depth streams are started, never the IMU.
The library's global time, an estimate of its own, is off: frames carry the camera's hardware clock, which `DeviceClock`
maps. Where the kernel gives no metadata, frames carry no such clock and are stamped on arrival.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.drivers.address import Address
from vla_ros.drivers.base import Frame, Reading
from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.errors import DeviceError

DEPTHS = ("aligned", "raw", "none")
EXPOSURE_UNIT = 0.1  # [ms] of the colour sensor's exposure
MILLIMETRE = 1e-3  # [m]
QUEUE = 8  # frames of both streams that wait


def plugged_in() -> list[Any]:
    """Return the RealSense devices of this machine."""
    import pyrealsense2 as rs

    return list(rs.context().query_devices())


class RealSense:
    """Colour [H, W, 3] and depth, pixel by pixel that of the colours ("aligned"), as the depth sensor sees it ("raw").

    devices: finds the cameras; another one than `plugged_in` brings in a `software_device`.
    """

    def __init__(self, address: Address, devices: Callable[[], Sequence[Any]] = plugged_in) -> None:
        address.only("width", "height", "fps", "depth", "exposure")
        self._serial = address.host
        self._size = (address.whole("width", 640, 16, 4096), address.whole("height", 480, 16, 4096))
        self._rate = address.whole("fps", 30, 1, 300)
        self._depth = address.text_of("depth", "aligned", DEPTHS)
        self._exposure = address.number("exposure", 0.0, 0.0, 1000.0)  # [ms], 0: automatic
        self.device, self.rejected = f"realsense {self._serial}".strip(), 0
        self._devices = devices
        self._device: Any = None
        self._sensors: list[Any] = []  # those that are open
        self._queue: Any = None
        self._align: Any = None
        self._newest: dict[Any, Any] = {}  # frame of each stream that waits for its partner
        self._unit = MILLIMETRE  # [m] of a step of depth

    def open(self) -> None:
        """Start the streams. Raises DeviceError naming the cameras found, or the formats that the camera has."""
        try:
            import pyrealsense2 as rs
        except ImportError as error:
            raise DeviceError(
                f"{self.device}: pyrealsense2 does not load ({error}): pip install pyrealsense2; on Debian and Ubuntu "
                "also apt-get install libusb-1.0-0"
            ) from None
        try:
            self._device = self._chosen()
            self._queue = rs.frame_queue(QUEUE)
            self._align = _Alignment() if self._depth == "aligned" else None
            self._start(rs)
        except RuntimeError as error:
            self.close()
            raise DeviceError(f"{self.device}: {_first_line(error)}; is it in use by another program?") from None
        except DeviceError:
            self.close()
            raise

    def read(self, timeout: float) -> Reading[Frame] | None:
        """Return the next frame, of both streams where depth is wanted. Raises DeviceError when the camera is gone."""
        if self._queue is None:
            return None
        end = time.monotonic() + timeout
        try:
            while True:
                left = end - time.monotonic()
                there, frame = self._queue.try_wait_for_frame(max(1, round(left * 1e3)))
                arrival = time.time_ns()
                if there and (reading := self._paired(frame, arrival)):
                    return reading
                if left <= 0 and not there:
                    break
            if timeout > 0 and self._serial not in _by_serial(devices := self._devices()):
                raise DeviceError(f"{self.device}: unplugged; {_found(devices)}")
            return None
        except RuntimeError as error:
            raise DeviceError(f"{self.device}: {_first_line(error)}") from None

    def close(self) -> None:
        """Stop the streams."""
        for sensor in self._sensors:
            for end in (sensor.stop, sensor.close):
                try:
                    end()
                except RuntimeError:
                    continue  # the camera is gone
        self._sensors, self._queue, self._device, self._newest = [], None, None, {}

    def _chosen(self) -> Any:
        devices = _by_serial(self._devices())
        if not self._serial and len(devices) == 1:
            self._serial = next(iter(devices))
            self.device = f"realsense {self._serial}"
        if self._serial not in devices:
            wanted = f"no camera of serial {self._serial}" if self._serial else "want one camera, or realsense://SERIAL"
            advice = (
                "its serial is on its label"
                if devices
                else "is it plugged in, and are librealsense's udev rules there?"
            )
            raise DeviceError(f"realsense: {wanted}; {_found(list(devices.values()))}; {advice}")
        return devices[self._serial]

    def _start(self, rs: Any) -> None:
        wanted = {rs.stream.color: rs.format.rgb8}
        if self._depth != "none":
            wanted[rs.stream.depth] = rs.format.z16
        for sensor in self._device.query_sensors():
            profiles = [profile for profile in sensor.get_stream_profiles() if self._fits(profile, wanted)]
            if not profiles:
                continue
            self._set_options(rs, sensor, {profile.stream_type() for profile in profiles})
            sensor.open(profiles)
            self._sensors.append(sensor)
            for profile in profiles:
                wanted.pop(profile.stream_type())
        if wanted:
            size = f"{self._size[0]}x{self._size[1]} at {self._rate} Hz"
            raise DeviceError(f"{self.device}: no {_names(wanted)} of {size}; it has {self._offered(rs, wanted)}")
        for sensor in self._sensors:
            sensor.start(self._queue)

    def _fits(self, profile: Any, wanted: dict[Any, Any]) -> bool:
        if wanted.get(profile.stream_type()) != profile.format() or profile.fps() != self._rate:
            return False
        video = profile.as_video_stream_profile()
        return (video.width(), video.height()) == self._size

    def _offered(self, rs: Any, wanted: dict[Any, Any]) -> str:
        found = set()
        for sensor in self._device.query_sensors():
            for profile in sensor.get_stream_profiles():
                if profile.stream_type() in wanted and wanted[profile.stream_type()] == profile.format():
                    video = profile.as_video_stream_profile()
                    found.add((video.width(), video.height(), profile.fps()))
        return ", ".join(f"{width}x{height} at {rate} Hz" for width, height, rate in sorted(found)) or "none"

    def _set_options(self, rs: Any, sensor: Any, streams: set[Any]) -> None:
        if sensor.supports(rs.option.global_time_enabled):
            sensor.set_option(rs.option.global_time_enabled, 0)
        if rs.stream.depth in streams and sensor.supports(rs.option.depth_units):
            self._unit = float(sensor.get_option(rs.option.depth_units))
        if rs.stream.color in streams:
            if sensor.supports(rs.option.enable_auto_exposure):
                sensor.set_option(rs.option.enable_auto_exposure, 0 if self._exposure else 1)
            if self._exposure and sensor.supports(rs.option.exposure):
                sensor.set_option(rs.option.exposure, self._exposure / EXPOSURE_UNIT)

    def _paired(self, frame: Any, arrival: int) -> Reading[Frame] | None:
        """Return a reading once colour and the depth taken at the same time are there; what stays alone is counted."""
        import pyrealsense2 as rs

        if self._depth == "none":
            return self._reading(rs, frame, None, arrival)
        stream = frame.get_profile().stream_type()
        self.rejected += stream in self._newest
        self._newest[stream] = frame
        colour, depth = self._newest.get(rs.stream.color), self._newest.get(rs.stream.depth)
        if colour is None or depth is None or abs(colour.timestamp - depth.timestamp) > 500.0 / self._rate:
            return None
        self._newest.clear()
        return self._reading(rs, colour, depth, arrival)

    def _reading(self, rs: Any, colour: Any, depth: Any, arrival: int) -> Reading[Frame]:
        clock = colour.get_frame_timestamp_domain()
        device_time = colour.get_timestamp() / 1e3 if clock == rs.timestamp_domain.hardware_clock else None
        number = int(colour.get_frame_number())
        if self._align is not None:
            depth = self._align(colour, depth)
        frame = Frame(
            np.array(colour.get_data(), dtype=np.uint8),
            self._millimetres(np.asarray(depth.get_data())) if depth is not None else None,
            _lens(colour),
            _lens(depth) if self._depth == "raw" else None,
        )
        return Reading(frame, arrival, device_time, number)

    def _millimetres(self, steps: npt.NDArray[np.uint16]) -> npt.NDArray[np.uint16]:
        if abs(self._unit - MILLIMETRE) < 1e-9:
            return steps.copy()
        return np.asarray(np.clip(np.rint(steps * (self._unit / MILLIMETRE)), 0, 65535), dtype=np.uint16)


class _Alignment:
    """Makes a depth frame pixel by pixel that of a colour frame."""

    def __init__(self) -> None:
        import pyrealsense2 as rs

        self._pair: list[Any] = []
        self._joined = rs.frame_queue(1)
        self._join = rs.processing_block(self._on_frame)
        self._join.start(self._joined)
        self._align = rs.align(rs.stream.color)

    def __call__(self, colour: Any, depth: Any) -> Any:
        self._pair = [colour, depth]
        self._join.invoke(colour)
        pair = self._joined.wait_for_frame().as_frameset()
        self._pair = []
        return self._align.process(pair).get_depth_frame()

    def _on_frame(self, frame: Any, source: Any) -> None:
        source.frame_ready(source.allocate_composite_frame(self._pair))


def _lens(frame: Any) -> Intrinsics:
    """Return the lens of a frame; a model that ROS does not know is fitted by plumb_bob."""
    given = frame.profile.as_video_stream_profile().intrinsics
    lens = Intrinsics(given.width, given.height, given.fx, given.fy, given.ppx, given.ppy)
    coefficients = tuple(float(value) for value in given.coeffs)
    if not any(coefficients):
        return lens
    name = given.model.name
    if name == "kannala_brandt4":
        return _with(lens, "equidistant", coefficients[:4])
    return _with(lens, "plumb_bob", _inverse(lens, coefficients) if name == "inverse_brown_conrady" else coefficients)


def _with(lens: Intrinsics, model: str, coefficients: tuple[float, ...]) -> Intrinsics:
    return Intrinsics(lens.width, lens.height, lens.fx, lens.fy, lens.cx, lens.cy, model, coefficients)


def _inverse(lens: Intrinsics, coefficients: tuple[float, ...]) -> tuple[float, ...]:
    """Return the coefficients of plumb_bob that undo those given, by least squares over the picture.

    librealsense's inverse_brown_conrady leads from the distorted picture to the ideal one, where plumb_bob leads from
    the ideal to the distorted one; the latter is linear in its coefficients k1, k2, p1, p2, k3.
    """
    u, v = np.meshgrid(np.linspace(0, lens.width - 1, 32), np.linspace(0, lens.height - 1, 24))
    seen = np.stack(((u - lens.cx) / lens.fx, (v - lens.cy) / lens.fy), axis=-1).reshape(-1, 2)
    ideal = seen + np.einsum("nij,j->ni", _terms(seen), np.array(coefficients))
    solution = np.linalg.lstsq(_terms(ideal).reshape(-1, 5), (seen - ideal).reshape(-1), rcond=None)[0]
    return tuple(float(value) for value in solution)


def _terms(points: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return by what k1, k2, p1, p2, k3 move points [N, 2] -> [N, 2, 5]."""
    x, y = points.T
    r2 = x * x + y * y
    along_x = np.stack((x * r2, x * r2**2, 2 * x * y, r2 + 2 * x * x, x * r2**3), axis=-1)
    along_y = np.stack((y * r2, y * r2**2, r2 + 2 * y * y, 2 * x * y, y * r2**3), axis=-1)
    return np.stack((along_x, along_y), axis=1)


def _by_serial(devices: Sequence[Any]) -> dict[str, Any]:
    import pyrealsense2 as rs

    return {str(device.get_info(rs.camera_info.serial_number)): device for device in devices}


def _found(devices: Sequence[Any]) -> str:
    import pyrealsense2 as rs

    names = [f"{d.get_info(rs.camera_info.serial_number)} ({d.get_info(rs.camera_info.name)})" for d in devices]
    return f"found {', '.join(sorted(names))}" if names else "found none"


def _names(streams: dict[Any, Any]) -> str:
    return " and ".join(stream.name for stream in streams)


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
