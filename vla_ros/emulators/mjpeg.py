"""An IP camera that sends MJPEG over HTTP: one endless answer of JPEG pictures.

The answer is multipart/x-mixed-replace: each part begins with a line of two hyphens and the boundary, has a header, an
empty line and a body (RFC 2046, section 5.1.1), and takes the place of the part before it.
"""

from __future__ import annotations

import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import cv2
import numpy as np

from vla_ros.emulators.base import Emulator
from vla_ros.emulators.pattern import paint

BOUNDARY = "vla_ros_picture"


class MjpegCamera(Emulator):
    """Shows `pattern.paint` at ``/stream``; a picture's number counts from 0, at `rate` [Hz] since the start."""

    name = "mjpeg"

    def __init__(self, port: int = 0, width: int = 640, height: int = 480, rate: float = 30.0) -> None:
        self._server: _Server | None = None
        self._changing = threading.Lock()
        self._running = False
        super().__init__()
        self.port, self.size, self.rate = port, (width, height), rate
        self.sent: dict[int, int] = {}  # number of each picture and when it was taken [ns]
        self._begin = time.monotonic()

    @property
    def fault(self) -> str:
        """The present fault, one of FAULTS."""
        return self._fault

    @fault.setter
    def fault(self, fault: str) -> None:
        self._fault = fault
        if self._running:
            self._close() if fault == "unplug" else self._listen()

    @property
    def address(self) -> str:
        """The address for the driver."""
        return f"mjpeg://127.0.0.1:{self.port}/stream"

    def start(self) -> None:
        """Listen on the loopback interface."""
        self._running = True
        self._begin = time.monotonic()
        self._listen()

    def stop(self) -> None:
        """Close the port and all connections."""
        self._running = False
        self._close()

    def _listen(self) -> None:
        with self._changing:
            if self._server is None:
                self._server = _Server(self, self.port)
                self.port = self._server.server_address[1]
                threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _close(self) -> None:
        with self._changing:
            if self._server is not None:
                self._server.hang_up()
                self._server = None

    def wait_for_picture(self, last: int) -> int:
        """Sleep until a picture newer than `last` is due, and return its number."""
        number = max(last + 1, int((time.monotonic() - self._begin) * self.rate))
        time.sleep(max(0.0, self._begin + number / self.rate - time.monotonic()))
        return number

    def picture(self, number: int) -> bytes:
        """Return a picture as JPEG, taken now."""
        self.sent[number] = time.time_ns()
        return cv2.imencode(".jpg", cv2.cvtColor(paint(number, *self.size), cv2.COLOR_RGB2BGR))[1].tobytes()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, camera: MjpegCamera, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Answer)
        self.camera = camera
        self.gone = False
        self.connections: list[socket.socket] = []

    def hang_up(self) -> None:
        self.gone = True
        self.shutdown()
        self.server_close()
        for connection in self.connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by the client

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has hung up."""


class _Answer(BaseHTTPRequestHandler):
    server: _Server

    def setup(self) -> None:
        super().setup()
        self.server.connections.append(self.connection)

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
            if fault == "silence":
                continue
            picture = camera.picture(number)
            if fault == "garbage":
                self.wfile.write(noise.bytes(4096))
                continue
            if fault == "partial":
                picture = picture[: len(picture) // 2]
            self.wfile.write(
                f"--{BOUNDARY}\r\nContent-Type: image/jpeg\r\nContent-Length: {len(picture)}\r\n\r\n".encode()
                + picture
                + b"\r\n"
            )

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing of requests."""
