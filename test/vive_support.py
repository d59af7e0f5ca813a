"""Where tests of Vive trackers can run: with the package openvr, and a C compiler for the emulated SteamVR."""

from __future__ import annotations

import shutil

import pytest

from vla_ros.drivers.vive_client import load_openvr
from vla_ros.errors import DeviceError


def steamvr_or_skip() -> None:
    """Skip the test where SteamVR cannot be emulated."""
    try:
        load_openvr()
    except DeviceError as missing:
        pytest.skip(str(missing))
    if shutil.which("cc") is None:
        pytest.skip("needs a C compiler, 'cc'")
