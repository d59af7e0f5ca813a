"""The server of the WebXR page: which page leads, when its place is free, and how it ends."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from ros_support import wait_until

from vla_ros.drivers.address import Address
from vla_ros.drivers.certificate import tls_context
from vla_ros.drivers.webxr import WebXr
from vla_ros.drivers.webxr_server import PageServer
from vla_ros.errors import DeviceError

HELD = {"p": [0.1, 1.2, -0.3], "q": [0.0, 0.0, 0.0, 1.0], "squeeze": 1}
MESSAGE = json.dumps({"type": "pose", "n": 1, "t": 16.0, "hands": {"right": HELD}})
UPGRADE = "GET /stream?token=secret HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
UPGRADE += "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[PageServer]:
    served = PageServer("127.0.0.1", 0, "secret")
    served.start(tls_context(tmp_path, ("127.0.0.1",)))
    yield served
    served.stop()


def trusted(folder: Path) -> ssl.SSLContext:
    return ssl.create_default_context(cafile=folder / "vla_ros.pem")


def leading(port: int, folder: Path) -> Any:
    """Return a page whose messages are taken; None where it is turned away."""
    from websockets.exceptions import ConnectionClosed
    from websockets.sync.client import connect

    uri = f"wss://127.0.0.1:{port}/stream?token=secret"
    page = connect(uri, ssl=trusted(folder), proxy=None, compression=None, close_timeout=0.5)
    try:
        for _ in range(30):
            page.send(MESSAGE)
        assert page.recv(timeout=30) == "30"
    except ConnectionClosed as closed:
        assert closed.rcvd is not None and closed.rcvd.reason == "another page leads the arm"
        return None
    return page


@pytest.mark.parametrize("end", ["closed", "silent"])
def test_a_page_in_the_place_of_another_leads_only_after_the_loss_was_told(tmp_path: Path, end: str) -> None:
    from websockets.exceptions import ConnectionClosed

    device = WebXr(Address.parse(f"webxr://127.0.0.1:0?token=secret&cert={tmp_path}"))
    with pytest.raises(DeviceError, match="no page is open"):
        device.open()
    try:
        port = int(device.url.split(":")[2].split("/")[0])
        first = leading(port, tmp_path)
        device.open()
        first.send(MESSAGE)
        assert device.read(30.0) is not None
        if end == "closed":
            first.close()
        second = wait_until(lambda: leading(port, tmp_path), 20.0, "the second page to be let in")
        with pytest.raises(DeviceError, match="webxr: a page has connected anew"):
            device.read(30.0)
        if end == "silent":
            with pytest.raises(ConnectionClosed, match="another page leads the arm"):
                first.recv(timeout=30)
        device.open()
        second.send(MESSAGE)
        assert device.read(30.0) is not None
        second.close()
    finally:
        device.end()


def test_a_page_that_is_closed_as_it_is_told_of_its_messages_counts_as_closed(
    server: PageServer, tmp_path: Path
) -> None:
    page = leading(server.port, tmp_path)
    for _ in range(20):
        page.send(MESSAGE)
    wait_until(lambda: len(server._messages) == 50, 30.0, "its messages")
    with server._news:  # the others wait to be heard until it has gone
        for _ in range(10):
            page.send(MESSAGE)
        ending = threading.Thread(target=page.close)
        ending.start()
        wait_until(lambda: server._page.protocol.close_rcvd is not None, 30.0, "the end to be heard")
    wait_until(lambda: server.problem, 30.0, "the end of the page")
    ending.join(30.0)
    assert server.problem == "the page was closed"


def test_a_page_whose_network_is_gone_is_lost_within_seconds(server: PageServer, tmp_path: Path) -> None:
    with (
        socket.create_connection(("127.0.0.1", server.port)) as plain,
        trusted(tmp_path).wrap_socket(plain, server_hostname="127.0.0.1") as dead,  # which answers no ping
    ):
        dead.sendall(UPGRADE.encode())
        assert dead.recv(4096).startswith(b"HTTP/1.1 101")
        assert server.wait_for_page(30.0)
        lost = "the connection to the page was lost"
        wait_until(lambda: server.problem == lost, 15.0, "the loss to be noticed")


def test_it_stops_at_once_whoever_is_about_to_connect(server: PageServer, tmp_path: Path) -> None:
    with socket.create_connection(("127.0.0.1", server.port)):  # it says nothing
        page = leading(server.port, tmp_path)  # which comes after it
        ending = threading.Thread(target=server.stop)
        ending.start()
        ending.join(6.0)
        assert not ending.is_alive()
        page.close()
