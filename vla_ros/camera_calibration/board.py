"""A ChArUco board and what a camera sees of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from vla_ros.drivers.intrinsics import Intrinsics
from vla_ros.errors import DeviceError, unknown_name

Array = npt.NDArray[np.float64]
PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".tif", ".tiff")
FEWEST_CORNERS = 8  # of a view that counts


@dataclass(frozen=True)
class View:
    """The board in one picture. points [N, 3]: corners in the board's frame [m]; pixels [N, 2]: where they are seen.

    ids [N]: numbers of the corners. size: width, height of the picture [px]. source: its file.
    """

    points: Array
    pixels: Array
    ids: npt.NDArray[np.int64]
    size: tuple[int, int]
    source: str

    def differs(self, other: View) -> float:
        """Return how far the corners that both views show have moved, on average, in widths of the picture."""
        common, mine, its = np.intersect1d(self.ids, other.ids, return_indices=True)
        if len(common) < FEWEST_CORNERS:
            return float("inf")
        return float(np.linalg.norm(self.pixels[mine] - other.pixels[its], axis=1).mean() / self.size[0])

    def pose(self, lens: Intrinsics) -> Array:
        """Return T_camera_board [4, 4] [m], board axes: x along its columns, y along its rows, z into the board."""
        undo = cv2.fisheye.undistortPoints if lens.model == "equidistant" else cv2.undistortPoints
        ideal = undo(self.pixels.reshape(-1, 1, 2), lens.matrix, lens.coefficients, P=lens.matrix)
        found, turn, shift = cv2.solvePnP(self.points, ideal, lens.matrix, None, flags=cv2.SOLVEPNP_IPPE)
        if found:
            found, turn, shift = cv2.solvePnP(self.points, ideal, lens.matrix, None, turn, shift, True)
        if not found:
            raise DeviceError(f"{self.source}: the board's pose cannot be told from its {len(self.ids)} corners")
        pose = np.eye(4)
        pose[:3, :3], pose[:3, 3] = cv2.Rodrigues(turn)[0], np.asarray(shift).reshape(3)
        return pose


@dataclass(frozen=True)
class Board:
    """A ChArUco board of columns x rows squares of `square` [m] with markers of `marker` [m] in the white ones."""

    columns: int = 7
    rows: int = 5
    square: float = 0.030
    marker: float = 0.022
    dictionary: str = "DICT_5X5_100"

    def __post_init__(self) -> None:
        names = [name for name in dir(cv2.aruco) if name.startswith("DICT_")]
        if self.dictionary not in names:
            raise DeviceError(unknown_name("dictionary of markers", self.dictionary, names))
        if min(self.columns, self.rows) < 3 or not 0 < self.marker < self.square:
            raise DeviceError(
                f"a board of {self.columns}x{self.rows} squares of {self.square:g} m with markers of {self.marker:g} m: "
                "want at least 3x3, and markers smaller than squares"
            )

    def made(self) -> Any:
        """Return OpenCV's board."""
        dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary))
        return cv2.aruco.CharucoBoard((self.columns, self.rows), self.square, self.marker, dictionary)

    def picture(self, square: int = 120) -> npt.NDArray[np.uint8]:
        """Return the board for printing, grey [rows * square, columns * square]; `square` [px]."""
        return np.asarray(self.made().generateImage((self.columns * square, self.rows * square)))

    def view(self, picture: npt.NDArray[np.uint8], source: str) -> View | None:
        """Return what a picture, grey or with colours in any order, shows of the board; None if too little."""
        grey = picture if picture.ndim == 2 else cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        board = self.made()
        corners, ids, _, _ = cv2.aruco.CharucoDetector(board).detectBoard(grey)
        if ids is None or len(ids) < FEWEST_CORNERS or board.checkCharucoCornersCollinear(ids):
            return None
        numbers = np.asarray(ids).reshape(-1).astype(np.int64)
        points = np.asarray(board.getChessboardCorners(), dtype=float)[numbers]
        pixels = np.asarray(corners, dtype=float).reshape(-1, 2)
        return View(points, pixels, numbers, (grey.shape[1], grey.shape[0]), source)


def views_in(folder: Path, board: Board) -> Iterator[tuple[Path, View | None]]:
    """Yield every picture of a folder, in order of their names, and what it shows. DeviceError if there is none."""
    files = sorted(path for path in folder.glob("*") if path.suffix.lower() in PICTURES)
    if not files:
        raise DeviceError(f"{folder}: no pictures there ({', '.join(PICTURES)})")
    for path in files:
        picture = cv2.imread(str(path), cv2.IMREAD_GRAYSCALE)
        if picture is None:
            raise DeviceError(f"{path}: not a picture that can be read")
        yield path, board.view(np.asarray(picture), path.name)
