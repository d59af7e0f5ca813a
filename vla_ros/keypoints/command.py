"""``vla-ros keypoint-models``: MediaPipe's models out of one of its older wheels."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def command(
    wheel: Annotated[Path, typer.Argument(help="file of the wheel of mediapipe 0.10.21")],
    output: Annotated[Path | None, typer.Option(help="folder; default: ~/.local/share/vla_ros/models")] = None,
) -> None:
    """Make hand_landmarker.task and pose_landmarker.task of the models in a wheel.

    The wheel, of any platform: pip download --no-deps --only-binary :all: --python-version 3.11 mediapipe==0.10.21
    """
    from vla_ros.keypoints.models import make_models, model_folder

    for path in make_models(wheel, output or model_folder()):
        print(f"{path}: written")
