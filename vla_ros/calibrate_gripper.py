"""``vla-ros calibrate gripper``: how a hand-held gripper's tags tell its opening, from pictures of it opening and closing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from vla_ros.errors import CalibrationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

MOST = 600  # pictures of a video; of a longer one they are taken evenly


def gripper(
    pictures: Annotated[
        Path, typer.Argument(help="folder of pictures, or a video, of the gripper opening and closing")
    ],
    camera: Annotated[Path, typer.Option(help="camera_info file of the gripper's camera")] = Path("camera.yaml"),
    output: Annotated[Path, typer.Option(help="file to write")] = Path("gripper.yaml"),
    widths: Annotated[str, typer.Option(help="[m] between the fingers when closed, and when wide open")] = "0.0,0.08",
    left: Annotated[int, typer.Option(help="id of the tag that is left in the picture")] = 0,
    right: Annotated[int, typer.Option(help="id of the tag that is right in the picture")] = 1,
    size: Annotated[float, typer.Option(help="side of a tag's black square [m], measured on the print")] = 0.016,
    dictionary: Annotated[str, typer.Option(help="dictionary of the tags, as OpenCV calls it")] = "DICT_4X4_50",
    tool: Annotated[
        str, typer.Option(help="the tool's pose in the tracker's frame: x,y,z,qx,qy,qz,qw")
    ] = "0,0,0,0,0,0,1",
) -> None:
    """Find how the tags on a hand-held gripper's fingers tell its opening: move them through their whole range."""
    from dataclasses import replace

    from vla_ros.drivers.intrinsics import load_intrinsics
    from vla_ros.teleop.umi_opening import BOTH, OpeningReader, calibrate_gripper, save_gripper

    lens, ends, pose = load_intrinsics(camera), numbers(widths, 2, "widths"), numbers(tool, 7, "tool")
    settings: dict[str, Any] = {"left": left, "right": right, "size": size, "dictionary": dictionary}
    found = calibrate_gripper(read_pictures(pictures), lens, (ends[0], ends[1]), **settings)
    found = replace(found, tool=tuple(pose))
    reader = OpeningReader(found, lens)
    openings = [reader.read(picture) for picture in read_pictures(pictures)]  # anew: all at once they fill the memory
    told = [opening.tags for opening in openings if opening]
    print(
        f"{told.count(BOTH)} of {len(openings)} pictures show both tags, {len(told) - told.count(BOTH)} one; they are "
        f"{1e3 * found.closed:.2f} to {1e3 * found.opened:.2f} mm apart, {1e3 * found.distance:.1f} mm away, "
        f"middle at {1e3 * found.centre:+.2f} mm"
    )
    save_gripper(found, output)
    print(f"{output}: written; give it to umi_node as gripper:={output}")


def read_pictures(path: Path) -> Iterator[npt.NDArray[np.uint8]]:
    """Give the pictures of a folder or of a video one by one, as OpenCV reads them. Raises CalibrationError."""
    import cv2
    import numpy as np

    none = True
    if path.is_dir():
        from vla_ros.camera_calibration.board import PICTURES

        for file in sorted(file for file in path.glob("*") if file.suffix.lower() in PICTURES):
            if (picture := cv2.imread(str(file))) is not None:
                none = False
                yield np.asarray(picture)
        if none:
            raise CalibrationError(f"{path}: no pictures there ({', '.join(PICTURES)})")
        return
    video = cv2.VideoCapture(str(path))
    step = max(1, -(-int(video.get(cv2.CAP_PROP_FRAME_COUNT)) // MOST))
    number = 0
    while video.grab():
        if number % step == 0:
            none = False
            yield np.asarray(video.retrieve()[1])
        number += 1
    video.release()
    if none:
        raise CalibrationError(f"{path}: neither a folder of pictures nor a video that can be read")


def numbers(text: str, count: int, what: str) -> list[float]:
    """Return the `count` numbers of a text that lists them with commas. Raises CalibrationError."""
    try:
        values = [float(part) for part in text.split(",")]
    except ValueError:
        values = []
    if len(values) != count:
        raise CalibrationError(f"{what} '{text}': want {count} numbers with commas between")
    return values
