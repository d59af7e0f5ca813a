"""Cameras on the network: ``rtsp://user:word@host/path``, ``http://host:8080/?action=stream`` (MJPEG), ``mjpeg://...``.

The address is the camera's own, with its own query; mjpeg:// stands for http://. How RTSP travels stands behind a '#':
``rtsp://host/path#transport=udp`` (default tcp). RTSP frames are stamped by the camera's RTP clock (RFC 3550, section
5.1), mapped to the host's; MJPEG over HTTP carries no time: its stamp is when the last byte of a picture has come.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qs, urlsplit

import av
import numpy as np

from vla_ros.drivers.address import Address
from vla_ros.drivers.background import BackgroundReader
from vla_ros.drivers.base import Frame, Reading
from vla_ros.errors import DeviceError

OPENING, SILENCE = 5.0, 3.0  # [s] that the camera may take to answer, and between two packets
TRANSPORTS = ("tcp", "udp")


class NetworkCamera:
    """A video stream of the network, read by FFmpeg as fast as it comes."""

    def __init__(self, address: Address) -> None:
        self._rtsp = address.device.startswith("rtsp")
        scheme, rest = address.text.split(":", 1)
        self._url = ("http" if scheme == "mjpeg" else scheme) + ":" + rest.partition("#")[0]
        wanted = parse_qs(urlsplit(address.text).fragment)
        self._transport = wanted.pop("transport", ["tcp"])[0]
        if wanted or self._transport not in TRANSPORTS:
            raise DeviceError(f"{self._public(address)}: behind '#' only transport={' or '.join(TRANSPORTS)}")
        if not address.host:
            raise DeviceError(f"{address.text}: names no host; want {address.device}://host:port/path")
        self.device, self.rejected = self._public(address), 0
        self._reader: BackgroundReader[Reading[Frame]] | None = None

    def open(self) -> None:
        """Connect. Raises DeviceError."""
        # err_detect and ec: a damaged picture is an error, not made up from its neighbours
        options = {"fflags": "nobuffer", "flags": "low_delay", "err_detect": "explode", "ec": "0"}
        if self._rtsp:
            options["rtsp_transport"] = self._transport
        else:  # without probing, which would wait for several pictures
            options |= {"probesize": "32", "analyzeduration": "0"}
        try:
            container: Any = av.open(
                self._url, format=None if self._rtsp else "mpjpeg", options=options, timeout=(OPENING, SILENCE)
            )
        except (av.FFmpegError, OSError, ValueError) as error:
            raise DeviceError(f"{self.device}: no stream: {_reason(error)}; {self._advice(error)}") from None
        if not container.streams.video:
            container.close()
            raise DeviceError(f"{self.device}: answers, but sends no video")
        readings = self._readings(container)
        self._reader = BackgroundReader(lambda: next(readings, None), container.close, self.device)

    def read(self, timeout: float) -> Reading[Frame] | None:
        """Return the next frame."""
        return self._reader.take(timeout) if self._reader else None

    def close(self) -> None:
        """Hang up."""
        if self._reader:
            self._reader.stop(patience=SILENCE + 1.0)
            self._reader = None

    def _readings(self, container: Any) -> Iterator[Reading[Frame]]:
        stream, sequence, damaged = container.streams.video[0], 0, False
        packets = container.demux(stream)
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                return
            except av.ExitError:  # the timeout's
                raise DeviceError(f"{self.device}: lost: silent for {SILENCE:g} s") from None
            except (av.FFmpegError, OSError) as error:
                raise DeviceError(f"{self.device}: lost: {_reason(error)}") from None
            arrival = time.time_ns()
            if not self._rtsp and packet.size and not _whole(bytes(packet)):
                self.rejected += 1
                continue
            try:
                frames = packet.decode()
            except av.FFmpegError:
                frames, self.rejected, damaged = [], self.rejected + 1, self._rtsp
            for frame in frames:
                damaged = frame.is_corrupt or (damaged and not frame.key_frame)
                if damaged:  # what is decoded from a damaged picture is damaged too, up to the next key frame
                    self.rejected += 1
                    continue
                timed = self._rtsp and frame.time is not None
                try:
                    colour = np.ascontiguousarray(frame.to_ndarray(format="rgb24"))
                except (av.FFmpegError, ValueError):  # of a format that random bytes have made up
                    self.rejected += 1
                    continue
                sequence += 1  # counts what is decoded, so that pictures nobody took in time show as lost
                yield Reading(Frame(colour), arrival, float(frame.time) if timed else None, sequence)

    def _advice(self, error: Exception) -> str:
        if isinstance(error, (av.HTTPUnauthorizedError, av.HTTPForbiddenError)):
            return "user and password go into the address: scheme://user:word@host/path"
        return "is the address right, as tried by a browser or ffplay, and the camera on?"

    @staticmethod
    def _public(address: Address) -> str:
        """Return the address without user and password."""
        port = f":{address.port}" if address.port else ""
        return f"{address.device}://{address.host}{port}{address.path}"


def _whole(picture: bytes) -> bool:
    """Say whether a JPEG ends with its end marker (ITU-T T.81, table B.1: EOI); FFmpeg shows cut ones half grey."""
    return picture.startswith(b"\xff\xd8") and picture.rstrip(b"\0\r\n").endswith(b"\xff\xd9")


def _reason(error: Exception) -> str:
    """Return the text of an error of FFmpeg without the address, which may have a password in it."""
    return str(getattr(error, "strerror", None) or type(error).__name__)
