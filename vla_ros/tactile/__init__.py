"""From what a skin measures to what it feels: baseline, contact, slip, marker flow. One sample at a time, no ROS."""

from vla_ros.tactile.baseline import Baseline
from vla_ros.tactile.flow import MarkerFlow, flow_figures
from vla_ros.tactile.hysteresis import Hysteresis
from vla_ros.tactile.imprint import PictureSlip
from vla_ros.tactile.markers import find_markers, marker_mask, without_markers
from vla_ros.tactile.mask import contact_mask
from vla_ros.tactile.slip import ShearSlip
from vla_ros.tactile.touch import PictureTouch, TaxelTouch, Thresholds, TouchState, touch_for

__all__ = [
    "Baseline",
    "Hysteresis",
    "MarkerFlow",
    "PictureSlip",
    "PictureTouch",
    "ShearSlip",
    "TaxelTouch",
    "Thresholds",
    "TouchState",
    "contact_mask",
    "find_markers",
    "flow_figures",
    "marker_mask",
    "touch_for",
    "without_markers",
]
