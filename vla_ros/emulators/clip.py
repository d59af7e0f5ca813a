"""A film of the moving pattern, which camera_node plays in a camera's place: ``video://FILE?loop=1``."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

from vla_ros.emulators.pattern import paint

CODECS = {"libx264": "yuv420p", "rawvideo": "yuyv422"}  # YUYV is what most USB cameras send


def write_clip(path: Path, size: tuple[int, int], rate: int = 30, pictures: int = 30, codec: str = "libx264") -> str:
    """Write a film of `pictures` of width x height [px] at `rate` [Hz], and return the address that plays it for ever.

    codec: "libx264", or "rawvideo" (an ``.avi``), whose reading costs the processor next to nothing.
    """
    import av

    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, CODECS[codec]
        for number in range(pictures):
            frame = av.VideoFrame.from_ndarray(paint(number, *size), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, rate)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return f"video://{path.resolve()}?loop=1"
