"""An IP camera that sends MJPEG over HTTP: one endless answer of JPEG pictures.

The answer is multipart/x-mixed-replace: each part begins with a line of two hyphens and the boundary, has a header, an
empty line and a body (RFC 2046, section 5.1.1), and takes the place of the part before it.
"""

from __future__ import annotations

import time
from http.server import BaseHTTPRequestHandler

import cv2
import numpy as np

from vla_ros.emulators.streaming import StreamingCamera, StreamServer

BOUNDARY = "vla_ros_picture"


class _Answer(BaseHTTPRequestHandler):
    server: StreamServer

    def do_GET(self) -> None:
        if self.path.partition("?")[0] != "/stream":
            self.send_error(404, "the pictures are at /stream")
            return
        self.send_response(200)
        self.send_header("Content-Type", f"multipart/x-mixed-replace; boundary={BOUNDARY}")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        camera, noise, number = self.server.camera, np.random.default_rng(0), -1
        while not self.server.gone:
            number = camera.wait_for_picture(number)
            fault = camera.fault
            if fault == "garbage":
                self.wfile.write(noise.bytes(4096))
            elif fault != "silence":
                picture = _picture(camera, number)
                self._send(picture[: len(picture) // 2] if fault == "partial" else picture)

    def _send(self, picture: bytes) -> None:
        header = f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n"
        self.wfile.write(header.encode() + picture + b"\r\n")

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""


class MjpegCamera(StreamingCamera):
    """Shows its pictures at ``/stream``."""

    name = "mjpeg"
    handler = _Answer


def _picture(camera: StreamingCamera, number: int) -> bytes:
    """Return a picture as JPEG, taken now."""
    camera.sent[number] = time.time_ns()
    return cv2.imencode(".jpg", cv2.cvtColor(camera.picture(number), cv2.COLOR_RGB2BGR))[1].tobytes()
