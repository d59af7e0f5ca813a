"""Reading the replay buffers in which UMI publishes its datasets (zarr, mostly zipped).

The layout is that of the public repository real-stanford/universal_manipulation_interface,
``scripts_slam_pipeline/07_generate_replay_buffer.py``: every array of ``data`` has one row a video frame, episodes lie
one after the other, and ``meta/episode_ends`` holds the number of rows up to the end of each. Of gripper i:
``robot{i}_eef_pos`` [N, 3] m, ``robot{i}_eef_rot_axis_angle`` [N, 3] rad, ``robot{i}_gripper_width`` [N, 1] m, and
``robot{i}_demo_start_pose``, ``robot{i}_demo_end_pose`` [N, 6]. Of camera i: ``camera{i}_rgb`` uint8 [N, H, W, 3], a frame
a chunk, in JPEG XL. Poses are of the tool's centre in the frame of the table's tag.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from vla_ros.errors import DatasetError
from vla_ros.pose import continuous, from_axis_angle

WRONG = (OSError, ValueError, KeyError, TypeError, RuntimeError, AttributeError, zipfile.BadZipFile)  # raised by zarr

ENDS = "episode_ends"
PARTS = ("eef_pos", "eef_rot_axis_angle", "gripper_width")
CAMERA = re.compile(r"camera(\d+)_rgb$")
GRIPPER = re.compile(r"robot(\d+)_eef_pos$")


class UmiFile:
    """A replay buffer at `path`, a ``.zarr.zip`` file or a ``.zarr`` folder; close it, or use it in a with statement.

    ends: int64 [episodes]. grippers: their numbers. cameras: number to the shape [H, W, 3] of a picture.
    Raises DatasetError for what is no such file, or where zarr is not installed.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self._store: Any = None
        try:
            self._root = self._open()
            data, meta = self._root["data"], self._root["meta"]
            self._data: Mapping[str, Any] = {name: data[name] for name in sorted(_names(data))}
            self.ends = np.asarray(meta[ENDS][:], dtype=np.int64)
            self._check()
        except DatasetError:
            self.close()
            raise
        except WRONG as error:
            self.close()
            text = str(error).splitlines() or [repr(error)]
            raise DatasetError(f"'{self.path}' is not a replay buffer of UMI: {text[0]}") from None

    def __enter__(self) -> UmiFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        if self._store is not None:
            self._store.close()
            self._store = None

    @property
    def grippers(self) -> list[int]:
        """The numbers of the grippers."""
        return sorted(int(found[1]) for name in self._data if (found := GRIPPER.match(name)))

    @property
    def cameras(self) -> dict[int, tuple[int, ...]]:
        """The shape [H, W, 3] of the pictures, by the number of the camera."""
        found = {int(match[1]): name for name in self._data if (match := CAMERA.match(name))}
        return {number: tuple(self._data[found[number]].shape[1:]) for number in sorted(found)}

    @property
    def episodes(self) -> list[range]:
        """The rows of each episode."""
        starts = [0, *self.ends[:-1].tolist()]
        return [range(start, end) for start, end in zip(starts, self.ends.tolist(), strict=True)]

    def poses(self, gripper: int, rows: range) -> npt.NDArray[np.float64]:
        """Return the tool's poses [n, 7] [m, xyzw] in rows of one episode, quaternions of continuous sign."""
        position, rotation = (self._read(f"robot{gripper}_{part}", rows) for part in PARTS[:2])
        return continuous(from_axis_angle(position, rotation))

    def widths(self, gripper: int, rows: range) -> npt.NDArray[np.float64]:
        """Return the opening of a gripper [n] [m]."""
        return self._read(f"robot{gripper}_{PARTS[2]}", rows).reshape(-1)

    def picture(self, camera: int, row: int) -> npt.NDArray[np.uint8]:
        """Return a picture, uint8 [H, W, 3] RGB. Raises DatasetError where it cannot be decoded."""
        try:
            return np.ascontiguousarray(self._data[f"camera{camera}_rgb"][row])
        except DatasetError:
            raise
        except WRONG as error:
            text = str(error).splitlines() or [repr(error)]
            raise DatasetError(f"'{self.path}': picture {row} of camera{camera}_rgb: {text[0]}") from None

    def _read(self, name: str, rows: range) -> npt.NDArray[np.float64]:
        values = np.asarray(self._data[name][rows.start : rows.stop], dtype=np.float64)
        if not np.isfinite(values).all():
            bad = rows.start + int(np.flatnonzero(~np.isfinite(values).reshape(len(values), -1).all(axis=1))[0])
            raise DatasetError(f"'{self.path}': {name} is not a finite number in row {bad}")
        return values

    def _open(self) -> Any:
        if not self.path.exists():
            raise DatasetError(f"'{self.path}' does not exist; want a .zarr.zip file or a .zarr folder")
        try:
            import zarr
            from zarr.storage import ZipStore
        except ImportError:
            raise DatasetError("UMI's datasets are read with zarr: pip install 'vla_ros[umi]'") from None
        register_jpegxl()
        if self.path.is_dir():
            return zarr.open_group(str(self.path), mode="r")
        store = ZipStore(str(self.path), mode="r")
        root = zarr.open_group(store, mode="r")
        self._store = store
        return root

    def _check(self) -> None:
        if not self.grippers:
            raise DatasetError(f"'{self.path}' has no robot0_eef_pos in data; there are: {', '.join(self._data)}")
        rows = int(self.ends[-1]) if len(self.ends) else 0
        if not rows or (np.diff(self.ends, prepend=0) <= 0).any():
            raise DatasetError(f"'{self.path}': meta/{ENDS} is {self.ends[:8].tolist()}, want growing numbers of rows")
        wanted = [f"robot{gripper}_{part}" for gripper in self.grippers for part in PARTS]
        missing = [name for name in wanted if name not in self._data]
        if missing:
            raise DatasetError(f"'{self.path}' has no data/{missing[0]}; there are: {', '.join(self._data)}")
        wanted += [f"camera{number}_rgb" for number in self.cameras]
        for name in wanted:
            if self._data[name].shape[0] != rows:
                raise DatasetError(
                    f"'{self.path}': {name} has {self._data[name].shape[0]} rows, meta/{ENDS} says {rows}"
                )


def register_jpegxl() -> None:
    """Tell numcodecs how to decode the pictures of the public sets, which name the codec ``imagecodecs_jpegxl``."""
    import numcodecs
    from numcodecs.abc import Codec

    class JpegXl(Codec):  # type: ignore[misc,unused-ignore]
        codec_id = "imagecodecs_jpegxl"

        def __init__(self, **settings: Any) -> None:
            self.settings = settings

        def get_config(self) -> dict[str, Any]:
            return {"id": self.codec_id, **self.settings}

        def encode(self, buf: Any) -> bytes:
            picture = np.squeeze(np.asarray(buf), axis=0)
            return bytes(_imagecodecs().jpegxl_encode(picture, lossless=True))

        def decode(self, buf: Any, out: Any = None) -> Any:
            picture = np.ascontiguousarray(_imagecodecs().jpegxl_decode(bytes(buf)))
            if out is None:
                return picture
            np.copyto(out, picture.reshape(out.shape))
            return out

    numcodecs.register_codec(JpegXl)


def _imagecodecs() -> Any:
    try:
        import imagecodecs
    except ImportError:
        raise DatasetError("the pictures are in JPEG XL, which imagecodecs decodes: pip install imagecodecs") from None
    return imagecodecs


def _names(group: Any) -> list[str]:
    return [str(name) for name in group.array_keys()]
