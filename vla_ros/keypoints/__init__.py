"""A hand and an arm without markers: keypoints in pictures, and from there to metres."""

from vla_ros.keypoints.base import Keypoint, Keypoints, KeypointSource
from vla_ros.keypoints.lift import at_depth, palm, triangulated

__all__ = ["Keypoint", "KeypointSource", "Keypoints", "at_depth", "palm", "triangulated"]
