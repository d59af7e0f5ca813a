"""Where tests of keypoints get MediaPipe's models from, or why they are skipped."""

from __future__ import annotations

from pathlib import Path

import pytest

from vla_ros.errors import DeviceError
from vla_ros.keypoints.media_pipe import check_installed
from vla_ros.keypoints.models import find_model


def model_or_skip(task: str) -> Path:
    """Return the file of a model; skip the test where it, or MediaPipe, is missing."""
    try:
        check_installed()
        return find_model(task)
    except DeviceError as missing:
        pytest.skip(str(missing))
