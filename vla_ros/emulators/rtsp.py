"""An IP camera that sends H.264 by RTSP, its RTP packets interleaved in the same TCP connection.

RTSP 1.0 is RFC 2326: section 10 has the methods, 10.12 the interleaving ('$', channel, length, packet), appendix C the
session description. An RTP header is 12 bytes: version, marker and payload type, sequence number, timestamp, source
(RFC 3550, section 5.1). H.264 goes as single NAL units, or cut into FU-A fragments (RFC 6184, sections 5.6 and 5.8),
with timestamps of 90 kHz (8.2.1).
"""

from __future__ import annotations

import re
import socketserver
import struct
import threading
import time
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
import numpy as np

from vla_ros.emulators.pattern import paint
from vla_ros.emulators.streaming import StreamingCamera, StreamServer

CLOCK = 90_000  # [Hz]
PAYLOAD_TYPE = 96
LARGEST = 1400  # bytes of a packet's payload
FU_A = 28  # type of a fragment
METHODS = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
DESCRIPTION = "\r\n".join(
    (
        "v=0",
        "o=- 1 1 IN IP4 127.0.0.1",
        "s=vla_ros",
        "c=IN IP4 127.0.0.1",
        "t=0 0",
        f"m=video 0 RTP/AVP {PAYLOAD_TYPE}",
        f"a=rtpmap:{PAYLOAD_TYPE} H264/{CLOCK}",
        f"a=fmtp:{PAYLOAD_TYPE} packetization-mode=1",
        "a=control:video",
        "",
    )
)


class _Session(socketserver.StreamRequestHandler):
    server: StreamServer

    def handle(self) -> None:
        self._sending = threading.Lock()
        while not self.server.gone and (request := self._request()) is not None:
            method, headers = request
            if method == "DESCRIBE":
                self._answer(headers, {"Content-Type": "application/sdp"}, DESCRIPTION)
            elif method == "SETUP" and "interleaved" not in headers.get("transport", ""):
                self._answer(headers, {}, status="461 Unsupported Transport")
            elif method == "SETUP":
                self._answer(headers, {"Transport": "RTP/AVP/TCP;unicast;interleaved=0-1", "Session": "1"})
            else:
                self._answer(headers, {"Public": METHODS} if method == "OPTIONS" else {"Session": "1"})
                if method == "PLAY":
                    threading.Thread(target=self._play, daemon=True).start()
                if method == "TEARDOWN":
                    return

    def _request(self) -> tuple[str, dict[str, str]] | None:
        """Return the next request's method and headers; None at the end. The client's RTCP is passed over."""
        while (first := self.rfile.read(1)) == b"$":
            self.rfile.read(struct.unpack(">xH", self.rfile.read(3))[0])
        if not first:
            return None
        method = (first + self.rfile.readline()).decode(errors="replace").split(" ")[0]
        headers = {}
        while line := self.rfile.readline().decode(errors="replace").strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        return method, headers

    def _answer(self, asked: dict[str, str], headers: dict[str, str], body: str = "", status: str = "200 OK") -> None:
        lines = [f"RTSP/1.0 {status}", f"CSeq: {asked.get('cseq', '0')}"]
        lines += [f"{name}: {value}" for name, value in headers.items()]
        lines += [f"Content-Length: {len(body)}"] if body else []
        with self._sending:
            self.wfile.write(("\r\n".join(lines) + "\r\n\r\n" + body).encode())

    def _play(self) -> None:
        camera, noise, packets, number = self.server.camera, np.random.default_rng(0), _Packets(self.server.camera), -1
        try:
            while not self.server.gone:
                number = camera.wait_for_picture(number)
                fault = camera.fault
                if fault == "silence":
                    continue
                for index, packet in enumerate(packets.of(number)):
                    if fault == "partial" and index % 2:
                        continue
                    payload = packet[:12] + noise.bytes(len(packet) - 12) if fault == "garbage" else packet
                    with self._sending:
                        self.wfile.write(struct.pack(">cBH", b"$", 0, len(payload)) + payload)
        except (OSError, ValueError):
            return  # the client has hung up


class RtspCamera(StreamingCamera):
    """Streams its pictures as H.264 to whoever plays ``rtsp://.../stream``."""

    name = "rtsp"
    handler = _Session


class _Packets:
    """Encodes pictures and packs them."""

    def __init__(self, camera: StreamingCamera) -> None:
        self._camera = camera
        self._sequence = 0
        self._encoder: Any = av.CodecContext.create("libx264", "w")
        self._encoder.width, self._encoder.height = camera.size
        self._encoder.pix_fmt, self._encoder.time_base = "yuv420p", Fraction(1, CLOCK)
        self._encoder.framerate, self._encoder.gop_size, self._encoder.thread_count = Fraction(30), 15, 1
        self._encoder.options = {"preset": "ultrafast", "tune": "zerolatency", "crf": "20"}

    def of(self, number: int) -> Iterator[bytes]:
        """Yield the RTP packets of a picture taken now."""
        self._camera.sent[number] = time.time_ns()
        frame = av.VideoFrame.from_ndarray(paint(number, *self._camera.size), format="rgb24")
        frame.pts, frame.time_base = round(number / self._camera.rate * CLOCK), Fraction(1, CLOCK)
        data = b"".join(bytes(packet) for packet in self._encoder.encode(frame))
        units = [unit for unit in re.split(b"\0\0\0?\1", data) if unit]
        payloads = [payload for unit in units for payload in _fragments(unit)]
        for index, payload in enumerate(payloads):
            last = index == len(payloads) - 1
            self._sequence = (self._sequence + 1) & 0xFFFF
            stamp = int(frame.pts) & 0xFFFFFFFF
            yield struct.pack(">BBHII", 0x80, PAYLOAD_TYPE | last << 7, self._sequence, stamp, 1) + payload


def _fragments(unit: bytes) -> Iterator[bytes]:
    """Yield a NAL unit whole, or in fragments whose first and last are marked."""
    if len(unit) <= LARGEST:
        yield unit
        return
    header, body = unit[0], unit[1:]
    for begin in range(0, len(body), LARGEST):
        start, end = begin == 0, begin + LARGEST >= len(body)
        yield bytes((header & 0xE0 | FU_A, start << 7 | end << 6 | header & 0x1F)) + body[begin : begin + LARGEST]
