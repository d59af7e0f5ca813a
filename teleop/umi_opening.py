"""How far a hand-held gripper is open, from a tag on each finger in the picture of its fisheye camera.

As in UMI (Chi et al. 2024, section III-A): the two tags' places across the view, less what they are apart when the fingers
touch. Where only one tag is seen, the fingers' symmetry gives the other; where none is, nothing is said.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import yaml

from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.errors import CalibrationError, unknown_name
from vla_ros.pose import IDENTITY

FEWEST = 20  # pictures with both tags, for a calibration
SMALLEST_RANGE = 0.01  # [m] between closed and open
BOTH, LEFT, RIGHT = "both", "left", "right"


@dataclass(frozen=True)
class GripperTags:
    """A gripper with a tag on each finger; lengths in metres, in the camera's optical frame (x right, z forward).

    left, right: ids of the tags, of `dictionary`; left is that with the smaller x. size: side of a tag's black square.
    closed, opened: how far the tags are apart when the fingers touch and when they are wide open. widths: what is then
    between the fingers. centre: x in the middle of the tags. distance: z of the tags; one that seems further than
    `tolerance` from there is none of them. tool: pose of the tool in the tracker's frame [x y z qx qy qz qw].
    """

    closed: float
    opened: float
    widths: tuple[float, float] = (0.0, 0.08)
    left: int = 0
    right: int = 1
    size: float = 0.016
    dictionary: str = "DICT_4X4_50"
    centre: float = 0.0
    distance: float = 0.072
    tolerance: float = 0.012
    tool: tuple[float, ...] = tuple(IDENTITY.tolist())

    def __post_init__(self) -> None:
        names = [name for name in dir(cv2.aruco) if name.startswith("DICT_")]
        if self.dictionary not in names:
            raise CalibrationError(unknown_name("dictionary of tags", self.dictionary, names))
        if self.left == self.right:
            raise CalibrationError(f"both fingers have tag {self.left}; want two different ones")
        if not self.closed < self.opened or not self.widths[0] < self.widths[1]:
            raise CalibrationError(
                f"closed {self.closed}, opened {self.opened}, widths {list(self.widths)}: want the first of each smaller"
            )
        if min(self.size, self.distance, self.tolerance) <= 0.0:
            raise CalibrationError(
                f"size {self.size}, distance {self.distance}, tolerance {self.tolerance}: want above 0"
            )
        if len(self.tool) != 7 or abs(float(np.linalg.norm(self.tool[3:])) - 1.0) > 1e-3:
            raise CalibrationError(f"tool {list(self.tool)}: want [x, y, z, qx, qy, qz, qw]")

    def width(self, apart: float) -> float:
        """Return what is between the fingers [m] when the tags are so far apart [m]; not beyond the calibrated ends."""
        share = (apart - self.closed) / (self.opened - self.closed)
        low, high = self.widths
        return low + min(max(share, 0.0), 1.0) * (high - low)


@dataclass(frozen=True)
class Opening:
    """What a picture tells: width [m], and the tags that were seen: ``both``, or ``left`` or ``right`` alone."""

    width: float
    tags: str


class OpeningReader:
    """Reads the opening from pictures of the lens's size."""

    def __init__(self, gripper: GripperTags, lens: Intrinsics) -> None:
        self.gripper, self.lens = gripper, lens
        self._find = TagFinder(gripper.dictionary, gripper.size, lens)

    def read(self, picture: npt.NDArray[np.uint8]) -> Opening | None:
        """Return the opening in a picture [H, W, 3] or [H, W]; None where no tag is seen.

        Raises CalibrationError for a picture that is not of the lens's size.
        """
        gripper = self.gripper
        places = self._find(picture)
        near = {
            key: slope * gripper.distance  # truer than the tag's own x, whose distance is told by its size alone
            for key, (slope, z) in places.items()
            if abs(z - gripper.distance) <= gripper.tolerance
        }
        if gripper.left in near and gripper.right in near:
            return Opening(gripper.width(near[gripper.right] - near[gripper.left]), BOTH)
        if gripper.left in near:
            return Opening(gripper.width(2.0 * (gripper.centre - near[gripper.left])), LEFT)
        if gripper.right in near:
            return Opening(gripper.width(2.0 * (near[gripper.right] - gripper.centre)), RIGHT)
        return None


class TagFinder:
    """Finds tags of one size and dictionary, and where they are."""

    def __init__(self, dictionary: str, size: float, lens: Intrinsics) -> None:
        self._lens = lens
        half = size / 2.0
        self._corners = np.array([[-half, half, 0.0], [half, half, 0.0], [half, -half, 0.0], [-half, -half, 0.0]])
        settings = cv2.aruco.DetectorParameters()
        settings.cornerRefinementMethod = cv2.aruco.CORNER_REFINE_SUBPIX
        known = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, dictionary))
        self._detector = cv2.aruco.ArucoDetector(known, settings)

    def __call__(self, picture: npt.NDArray[np.uint8]) -> dict[int, tuple[float, float]]:
        """Return x/z of the line of sight to each tag's middle, and its z [m], in the camera's optical frame, by id."""
        lens = self._lens
        if picture.shape[:2] != (lens.height, lens.width):
            have = f"{picture.shape[1]}x{picture.shape[0]}"
            raise CalibrationError(f"a picture of {have}, but the lens is calibrated for {lens.width}x{lens.height}")
        grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        corners, ids, _ = self._detector.detectMarkers(grey)
        found = {}
        for pixels, key in zip(corners, [] if ids is None else np.asarray(ids).reshape(-1), strict=True):
            ideal = self._undo(np.asarray(pixels, dtype=np.float64).reshape(-1, 1, 2))
            solved, _, shift = cv2.solvePnP(self._corners, ideal, np.eye(3), None, flags=cv2.SOLVEPNP_IPPE_SQUARE)
            if solved:
                found[int(key)] = float(ideal[..., 0].mean()), float(np.asarray(shift).reshape(3)[2])
        return found

    def _undo(self, pixels: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        lens = self._lens
        undo = cv2.fisheye.undistortPoints if lens.model == "equidistant" else cv2.undistortPoints
        return np.asarray(undo(pixels, lens.matrix, lens.coefficients))


def calibrate_gripper(
    pictures: Iterable[npt.NDArray[np.uint8]], lens: Intrinsics, widths: tuple[float, float], **tags: Any
) -> GripperTags:
    """Return the gripper whose fingers are moved from closed to wide open, and back, in the pictures.

    widths: between the fingers when closed and when wide open [m]. tags: `left`, `right`, `size`, `dictionary` of
    `GripperTags`. As when reading, a tag that seems at another distance than the others is none of the gripper's.
    Raises CalibrationError.
    """
    guess = GripperTags(closed=0.0, opened=1.0, widths=widths, **tags)
    find = TagFinder(guess.dictionary, guess.size, lens)
    places = [find(picture) for picture in pictures]
    seen = [(found[guess.left], found[guess.right]) for found in places if {guess.left, guess.right} <= found.keys()]
    both = np.array(seen).reshape(-1, 2, 2)  # [n, 2 tags, x/z and z]
    distance = float(np.median(both[:, :, 1])) if seen else guess.distance
    both = both[(abs(both[:, :, 1] - distance) <= guess.tolerance).all(axis=1)]
    if len(both) < FEWEST:
        raise CalibrationError(
            f"tags {guess.left} and {guess.right} are both in {len(both)} of {len(places)} pictures, want {FEWEST}"
        )
    apart = distance * (both[:, 1, 0] - both[:, 0, 0])
    if np.median(apart) < 0.0:
        raise CalibrationError(f"tag {guess.left} is right of tag {guess.right}; exchange left and right")
    closed, opened = float(np.min(apart)), float(np.max(apart))
    if opened - closed < SMALLEST_RANGE:
        raise CalibrationError(
            f"the tags move by {1e3 * (opened - closed):.1f} mm only: open and close the fingers all the way"
        )
    centre = distance * float(np.median(both[:, :, 0].mean(axis=1)))
    return GripperTags(closed=closed, opened=opened, widths=widths, centre=centre, distance=distance, **tags)


def load_gripper(path: str | Path) -> GripperTags:
    """Read a gripper's YAML file. Raises CalibrationError."""
    try:
        content = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise CalibrationError(f"{path}: {error.strerror}; vla-ros calibrate gripper makes one") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CalibrationError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
    known = [f.name for f in fields(GripperTags)]
    if not isinstance(content, dict) or not {"closed", "opened"} <= content.keys():
        raise CalibrationError(f"{path}: want a mapping with closed and opened, as vla-ros calibrate gripper writes it")
    for key in content:
        if key not in known:
            raise CalibrationError(f"{path}: {unknown_name('key', str(key), known)}")
    try:
        values: dict[str, Any] = {
            key: tuple(map(float, value)) if isinstance(value, list) else value for key, value in content.items()
        }
        return GripperTags(**values)
    except (TypeError, ValueError) as error:
        raise CalibrationError(f"{path}: {error}") from None
    except CalibrationError as error:
        raise CalibrationError(f"{path}: {error}") from None


def save_gripper(gripper: GripperTags, path: str | Path) -> None:
    """Write the file that `load_gripper` reads."""
    content = {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(gripper).items()}
    Path(path).write_text(yaml.safe_dump(content, sort_keys=False, default_flow_style=None), encoding="utf-8")
