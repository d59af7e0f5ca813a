"""What emulated cameras on the network share: a port on the loopback interface, and pictures that are due at a rate."""

from __future__ import annotations

import socket
import socketserver
import threading
import time

import numpy as np
import numpy.typing as npt

from vla_ros.emulators.base import Emulator
from vla_ros.emulators.pattern import paint


class StreamServer(socketserver.ThreadingTCPServer):
    """Serves the clients of an emulated camera, each in a thread, until it hangs up."""

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, camera: StreamingCamera, handler: type[socketserver.BaseRequestHandler]) -> None:
        super().__init__(("127.0.0.1", camera.port), handler)
        self.camera = camera
        self.gone = False
        self._connections: list[socket.socket] = []

    def get_request(self) -> tuple[socket.socket, object]:
        """Remember the connections, to close them."""
        connection, address = super().get_request()
        self._connections.append(connection)
        return connection, address

    def hang_up(self) -> None:
        """Close the port and all connections."""
        self.gone = True
        self.shutdown()
        self.server_close()
        for connection in self._connections:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                continue  # closed by the client

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a client that has hung up."""


class StreamingCamera(Emulator):
    """A camera whose picture k, `pattern.paint(k)`, is taken k / rate [s] after its start; `size` is width, height."""

    handler: type[socketserver.BaseRequestHandler]  # serves one client

    def __init__(self, port: int = 0, width: int = 640, height: int = 480, rate: float = 30.0) -> None:
        self._server: StreamServer | None = None
        self._changing = threading.Lock()
        self._running = False
        super().__init__()
        self.port, self.size, self.rate = port, (width, height), rate
        self.sent: dict[int, int] = {}  # number of each picture, and when it was taken [ns]
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
        return f"{self.name}://127.0.0.1:{self.port}/stream"

    def start(self) -> None:
        """Listen on the loopback interface."""
        self._running = True
        self._begin = time.monotonic()
        self._listen()

    def stop(self) -> None:
        """Close the port and all connections."""
        self._running = False
        self._close()

    def wait_for_picture(self, last: int) -> int:
        """Sleep until a picture newer than `last` is due, and return its number."""
        number = max(last + 1, int((time.monotonic() - self._begin) * self.rate))
        time.sleep(max(0.0, self._begin + number / self.rate - time.monotonic()))
        return number

    def picture(self, number: int) -> npt.NDArray[np.uint8]:
        """Return picture `number` [height, width, 3] RGB."""
        return paint(number, *self.size)

    def _listen(self) -> None:
        with self._changing:
            if self._server is None:
                self._server = StreamServer(self, self.handler)
                self.port = int(self._server.server_address[1])
                threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _close(self) -> None:
        with self._changing:
            if self._server is not None:
                self._server.hang_up()
                self._server = None
