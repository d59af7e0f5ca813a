"""Datasets: recording and reading LeRobot v3.0.

`DatasetWriter` writes episodes that survive a crash, `EpisodeRecorder` fills them from sensor streams on an
exact time grid, `Dataset` reads them without LeRobot.
"""

from vla_ros.data.reader import Dataset, Episode
from vla_ros.data.recorder import EpisodeRecorder
from vla_ros.data.video import VideoSettings
from vla_ros.data.writer import DatasetWriter

__all__ = ["Dataset", "DatasetWriter", "Episode", "EpisodeRecorder", "VideoSettings"]
