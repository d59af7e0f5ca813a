"""Serves the page config/webxr/index.html by HTTPS, and takes what it sends on a websocket. One page at a time.

The page that leads sends with every frame of its headset. One that is silent, as before Start, with the headset taken off or
with its network gone, leads nothing: its place is another's who comes for it.
Whoever wants the page or the socket has to know the token (WebXR is for secure contexts only, so there is no plain HTTP).
"""

from __future__ import annotations

import hmac
import http
import ssl
import threading
import time
from collections import deque
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs, urlsplit

from vla_ros.errors import DeviceError
from vla_ros.paths import share_path

LONGEST = 1 << 16  # [bytes] of a message
WAITING = 500  # messages that wait to be taken
SILENT = 1.0  # [s] without a message; longer than `webxr` waits before it tells of the loss
PING, PONG = 1.0, 2.0  # [s] between two questions whether the page is there, and for the answer
HANDSHAKE = 2.0  # [s] that it may take to connect, for which `stop` waits
TAKEN = (1013, "another page leads the arm")  # code and reason with which a page is closed: "try again later"
TOLD = 30  # messages after which the page is told how many came
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; connect-src 'self'"


class PageServer:
    """The server; `start` and `stop` may be called again. What comes is in `take`, with its arrival [ns].

    problem: why no page is connected, "" while one is. pages: how many have been the one so far.
    """

    def __init__(self, host: str, port: int, token: str) -> None:
        self.host, self.port, self._token = host, port, token
        self.problem, self.pages = "no page is open", 0
        self._messages: deque[tuple[str | bytes, int]] = deque(maxlen=WAITING)
        self._news = threading.Condition()
        self._page: Any = None  # the connection
        self._heard = 0.0  # when it last sent [s]
        self._server: Any = None
        self._thread: threading.Thread | None = None

    @property
    def running(self) -> bool:
        """Whether it listens."""
        return self._server is not None

    def start(self, context: ssl.SSLContext) -> None:
        """Listen. Raises DeviceError."""
        try:
            from websockets.sync.server import serve
        except ImportError:
            raise DeviceError(
                "webxr: needs the Python package 'websockets' from version 15: pip install 'vla_ros[mocap]'"
            ) from None
        options: dict[str, Any] = {"process_request": self._answer, "max_size": LONGEST, "compression": None}
        options |= {"open_timeout": HANDSHAKE, "ping_interval": PING, "ping_timeout": PONG, "close_timeout": 0.5}
        try:
            self._server = serve(self._hear, self.host, self.port, ssl=context, **options)
        except OSError as error:
            where = f"{self.host}:{self.port}"
            raise DeviceError(
                f"webxr: cannot listen on {where}: {error.strerror or error}; name another port"
            ) from None
        self.port = self._server.socket.getsockname()[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="serve webxr", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Close the port and the page's connection."""
        server, self._server = self._server, None
        if server is None:
            return
        server.shutdown()
        page = self._page
        if page is not None:
            with suppress(Exception):  # whatever state its connection is in
                page.close(1001, "the device was closed")
        if self._thread is not None:
            self._thread.join(timeout=5.0)

    def take(self, timeout: float) -> tuple[str | bytes, int] | None:
        """Return the oldest message that waits, and its arrival [ns]; None after `timeout` [s]."""
        with self._news:
            self._news.wait_for(lambda: self._messages, timeout)
            return self._messages.popleft() if self._messages else None

    def wait_for_page(self, timeout: float) -> bool:
        """Return whether a page is there, or comes within `timeout` [s]."""
        with self._news:
            return bool(self._news.wait_for(lambda: not self.problem, timeout))

    def forget(self) -> None:
        """Let go what waits."""
        with self._news:
            self._messages.clear()

    def _answer(self, connection: Any, request: Any) -> Any:
        """Answer a request by the page, or let the websocket be opened."""
        parts = urlsplit(request.path)
        token = parse_qs(parts.query).get("token", [""])[0]
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return connection.respond(
                http.HTTPStatus.FORBIDDEN, "The address lacks the token that teleop_node tells.\n"
            )
        if parts.path == "/stream":
            return None
        if parts.path != "/":
            return connection.respond(http.HTTPStatus.NOT_FOUND, "There is only one page here: /\n")
        page = share_path("config/webxr/index.html").read_text(encoding="utf-8")
        response = connection.respond(http.HTTPStatus.OK, page)
        del response.headers["Content-Type"]
        response.headers["Content-Type"] = "text/html; charset=utf-8"
        response.headers["Content-Security-Policy"] = POLICY
        response.headers["Cache-Control"] = "no-store"
        return response

    def _hear(self, connection: Any) -> None:
        """Take a page's messages until it is closed; in a thread of its own."""
        from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

        if not self._admit(connection):
            connection.close(*TAKEN)
            return
        count, why = 0, "the page was closed"
        try:
            for message in connection:
                arrival = time.time_ns()
                with self._news:
                    if self._page is not connection:
                        break
                    self._heard = time.monotonic()
                    self._messages.append((message, arrival))
                    self._news.notify_all()
                count += 1
                if count % TOLD == 0:
                    connection.send(str(count))
        except ConnectionClosedOK:
            pass  # while it was told
        except ConnectionClosed:
            why = "the connection to the page was lost"
        finally:
            with self._news:
                if self._page is connection:
                    self._page, self.problem = None, why
                    self._news.notify_all()

    def _admit(self, connection: Any) -> bool:
        """Let a page lead where no other does; a silent one in its place is closed."""
        with self._news:
            before, now = self._page, time.monotonic()
            if before is not None and now - self._heard < SILENT:
                return False
            self._page, self._heard, self.problem = connection, now, ""
            self.pages += 1
            self._messages.clear()
            self._news.notify_all()
        if before is not None:  # its network may be gone, and closing it takes a while
            threading.Thread(target=before.close, args=TAKEN, name="close webxr", daemon=True).start()
        return True
