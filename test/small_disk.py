"""A small real disk: a tmpfs in a mount namespace of the process that uses it, where that is permitted."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

NAMESPACE = ["unshare", "--user", "--map-root-user", "--mount"]


def on_small_disk(folder: Path, command: list[str], size: str = "8m", then: str = "true") -> list[str]:
    """Return the command that runs `command` where `folder` is a disk of `size`; `then`: a shell command after mounting.

    Others see the disk as /proc/PID/root/FOLDER while the process runs. Skips the test where mounting is not permitted.
    """
    if shutil.which("unshare") is None:
        pytest.skip("no unshare(1) to mount a small disk with")
    tried = subprocess.run([*NAMESPACE, "mount", "-t", "tmpfs", "tmpfs", str(folder)], capture_output=True, text=True)
    if tried.returncode:
        pytest.skip(f"mounting a small disk is not permitted here: {tried.stderr.strip()}")
    script = f'disk="$1"; shift; mount -t tmpfs -o size={size} tmpfs "$disk" && {then} && exec "$@"'
    return [*NAMESPACE, "sh", "-c", script, "sh", str(folder), *command]
