"""Film a trial: keep the frames of one camera topic, and write them as a video and a picture."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import numpy as np
import numpy.typing as npt
from rclpy.node import Node
from sensor_msgs.msg import Image

from vla_ros.errors import VlaRosError
from vla_ros.ros.convert import rgb_from_message
from vla_ros.ros.qos import sensor

FRAMES_AT_MOST = 30 * 60


class Film:
    """Keeps the frames that arrive on `topic` between `start` and `stop`; shows them live if `view`."""

    def __init__(self, node: Node, topic: str, *, view: bool = False) -> None:
        if view and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            raise VlaRosError("a window needs a screen: neither DISPLAY nor WAYLAND_DISPLAY is set; leave --view out")
        self._node, self._topic, self._view = node, topic, view
        self._frames: list[npt.NDArray[np.uint8]] = []
        self._lock = threading.Lock()
        self._subscription: object | None = None

    def start(self) -> None:
        """Begin to keep frames, forgetting earlier ones."""
        with self._lock:
            self._frames = []
        if self._subscription is None:
            self._subscription = self._node.create_subscription(
                Image, self._topic, self._on_image, sensor(30, reliable=True)
            )

    def stop(self) -> None:
        """Keep no further frames."""
        if self._subscription is not None and not self._view:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    def write(self, video: Path, picture: Path, rate: float = 30.0) -> int:
        """Write the kept frames as an mp4 and the last one as a PNG; return how many there were."""
        import av
        import cv2

        with self._lock:
            frames = list(self._frames)
        if not frames:
            raise VlaRosError(f"no frame arrived on {self._topic}: nothing to write to '{video}'")
        video.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(video), "w") as container:
            stream = container.add_stream("libx264", rate=round(rate), options={"crf": "20"})
            stream.height, stream.width = frames[0].shape[:2]
            stream.pix_fmt = "yuv420p"
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
            container.mux(stream.encode())
        cv2.imwrite(str(picture), frames[-1][:, :, ::-1])
        return len(frames)

    def _on_image(self, message: Image) -> None:
        frame = rgb_from_message(message)
        with self._lock:
            if len(self._frames) < FRAMES_AT_MOST:
                self._frames.append(frame)
        if self._view:
            import cv2

            cv2.imshow(self._topic, cv2.resize(frame[:, :, ::-1], None, fx=2, fy=2))
            cv2.waitKey(1)
