"""MediaPipe's models: where they are, how they are made of an older wheel, and what is said where they are missing."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

import pytest
from keypoint_support import model_or_skip

from vla_ros.drivers.registry import make_driver
from vla_ros.errors import DeviceError
from vla_ros.keypoints.media_pipe import MediaPipeArm, MediaPipeHand
from vla_ros.keypoints.models import HAND, POSE, find_model, make_models


def test_a_missing_model_is_told_with_where_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with pytest.raises(
        DeviceError, match=r"no model .*/vla_ros/models/hand_landmarker.task: fetch https://.*keypoint-models"
    ):
        find_model(HAND)
    with pytest.raises(DeviceError, match="no model nowhere.task"):
        find_model(POSE, "nowhere.task")
    (tmp_path / "mine.task").touch()
    assert find_model(HAND, str(tmp_path / "mine.task")) == tmp_path / "mine.task"


def test_a_wheel_without_models_is_refused(tmp_path: Path) -> None:
    wheel = tmp_path / "new.whl"
    with zipfile.ZipFile(wheel, "w") as file:
        file.writestr("mediapipe/__init__.py", "")
    with pytest.raises(
        DeviceError, match=r"new.whl: There is no item .*want the wheel of mediapipe==0.10.21 or before"
    ):
        make_models(wheel, tmp_path)
    wheel.write_text("no ZIP")
    with pytest.raises(DeviceError, match="no wheel that can be read"):
        make_models(wheel, tmp_path)


def test_without_mediapipe_it_is_told_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "mediapipe"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    with pytest.raises(DeviceError, match=r"MediaPipe does not load .*: pip install 'vla_ros\[keypoints\]'"):
        make_driver("tracker", "keypoints://?camera=mjpeg://a/b&tilt=0")


def test_models_load_and_one_of_another_kind_is_refused() -> None:
    hand, pose = model_or_skip(HAND), model_or_skip(POSE)
    MediaPipeHand(hand, 0.5).close()
    MediaPipeArm(pose, "right", 0.5).close()
    with pytest.raises(DeviceError, match="no model of MediaPipe's HandLandmarker"):
        MediaPipeHand(pose, 0.5)
