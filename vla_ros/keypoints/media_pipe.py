"""MediaPipe's hand and pose landmarkers as sources of keypoints (Zhang et al. 2020; Bazarevsky et al. 2020).

Points are numbered as in MediaPipe's documentation, "Hand landmarks detection guide" and "Pose landmark detection guide".
A hand comes with no confidence of its points: MediaPipe gives one only where it is surer of it than a threshold, which is
then their confidence. Needs ``pip install 'vla_ros[keypoints]'`` and a model's file; see `models`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.errors import DeviceError
from vla_ros.keypoints.base import Keypoint, Keypoints

HAND = {"wrist": 0, "thumb": 4, "index": 8, "index_knuckle": 5, "pinky_knuckle": 17}
ARMS = {"left": {"shoulder": 11, "elbow": 13}, "right": {"shoulder": 12, "elbow": 14}}
INSTALL = "pip install 'vla_ros[keypoints]'"


class _Landmarker:
    """A landmarker that follows what it found through the pictures of a video. kind: the class in MediaPipe's vision."""

    def __init__(self, kind: str, model: Path, options: dict[str, Any]) -> None:
        vision, base = _vision()
        settings = getattr(vision, f"{kind}Options")(
            base_options=base(model_asset_path=str(model)), running_mode=vision.RunningMode.VIDEO, **options
        )
        try:
            self._made = getattr(vision, kind).create_from_options(settings)
        except (OSError, RuntimeError, ValueError) as error:
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise DeviceError(f"{model}: no model of MediaPipe's {kind}: {reason}") from None
        self._last = -1  # [ms]

    def detect(self, picture: npt.NDArray[np.uint8], time: float) -> Any:
        """Return MediaPipe's result. time: [s], which must grow; where it does not, a millisecond is taken to have passed."""
        from mediapipe import Image, ImageFormat

        self._last = max(self._last + 1, round(time * 1e3))
        return self._made.detect_for_video(
            Image(image_format=ImageFormat.SRGB, data=np.ascontiguousarray(picture)), self._last
        )

    def close(self) -> None:
        """Let it go; harmless twice."""
        made, self._made = self._made, None
        if made is not None:
            made.close()


class MediaPipeHand:
    """The one hand of a picture, or the hand that was found first. confidence: below which there is none, 0 to 1.

    Raises DeviceError naming what is missing.
    """

    def __init__(self, model: Path, confidence: float) -> None:
        self._confidence = confidence
        names = ("min_hand_detection_confidence", "min_hand_presence_confidence", "min_tracking_confidence")
        self._landmarker = _Landmarker("HandLandmarker", model, {"num_hands": 1, **dict.fromkeys(names, confidence)})

    def __call__(self, picture: npt.NDArray[np.uint8], time: float) -> Keypoints:
        """Return the points of `vla_ros.keypoints.base.HAND`."""
        found = self._landmarker.detect(picture, time).hand_landmarks
        if not found:
            return {}
        return {name: _pixel(found[0][number], picture, self._confidence) for name, number in HAND.items()}

    def close(self) -> None:
        """Let it go."""
        self._landmarker.close()


class MediaPipeArm:
    """Shoulder and elbow of the person in a picture. side: "left" or "right", the person's. confidence: see MediaPipeHand."""

    def __init__(self, model: Path, side: str, confidence: float) -> None:
        self._numbers, self._confidence = ARMS[side], confidence
        names = ("min_pose_detection_confidence", "min_pose_presence_confidence", "min_tracking_confidence")
        self._landmarker = _Landmarker("PoseLandmarker", model, {"num_poses": 1, **dict.fromkeys(names, confidence)})

    def __call__(self, picture: npt.NDArray[np.uint8], time: float) -> Keypoints:
        """Return the points of `vla_ros.keypoints.base.ARM` that are in the picture and not hidden."""
        found = self._landmarker.detect(picture, time).pose_landmarks
        if not found:
            return {}
        points = {name: found[0][number] for name, number in self._numbers.items()}
        sure = {name: min(point.visibility, point.presence) for name, point in points.items()}
        return {
            name: _pixel(point, picture, sure[name]) for name, point in points.items() if sure[name] >= self._confidence
        }

    def close(self) -> None:
        """Let it go."""
        self._landmarker.close()


def check_installed() -> None:
    """Raise DeviceError where MediaPipe, or one that has these landmarkers, is not installed."""
    _vision()


def _vision() -> tuple[Any, Any]:
    """Return MediaPipe's vision tasks, and its BaseOptions."""
    try:
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise DeviceError(f"keypoints: MediaPipe does not load ({error}): {INSTALL}") from None
    return vision, BaseOptions


def _pixel(point: Any, picture: npt.NDArray[np.uint8], confidence: float) -> Keypoint:
    """Return a landmark, whose 0 to 1 go from edge to edge of the picture, in pixels."""
    height, width = picture.shape[:2]
    return Keypoint(point.x * width - 0.5, point.y * height - 0.5, float(confidence))
