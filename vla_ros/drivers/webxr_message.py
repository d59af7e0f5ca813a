"""What the page config/webxr/index.html sends: JSON, one message a frame of the headset.

    {"type": "pose", "n": 17, "t": 1234.5, "hands": {"right": {"p": [x, y, z], "q": [x, y, z, w], "trigger": 0.2,
     "squeeze": 1, "buttons": [0, 0, 1], "thumb": [x, y, z], "index": [x, y, z]}, "left": ..., "head": ..., "phone": ...}}
    {"type": "end", "why": "the session was ended"}

n counts up. t: what XRFrameRequestCallback is called with, [ms] of the page's clock (W3C, "WebXR Device API"). p [m] and
q: the gripSpace of a controller (XRInputSource), the joint "wrist" of a hand (W3C, "WebXR Hand Input Module - Level 1"),
or the viewer, in the XRReferenceSpace "local": x to the right, y up, -z to the front. trigger and squeeze: buttons 0 and 1
of the mapping "xr-standard" (W3C, "WebXR Gamepads Module - Level 1"). thumb, index: the joints "thumb-tip" and
"index-finger-tip". What is not tracked, or whose position is only guessed (XRPose.emulatedPosition), is left out.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from vla_ros.drivers.tracked import Axes, Tracked
from vla_ros.errors import DeviceError

THINGS = ("right", "left", "phone", "head")
TIPS = ("thumb", "index")
OTHER = {"right": "left", "left": "right"}
MOST_BUTTONS = 16
PINCHED = 0.02  # [m] between two finger tips that touch
UPRIGHT = (0.0, 0.0, 0.0, 1.0)


@dataclass(frozen=True)
class Message:
    """One message. time: of the page's clock [s]. tracked: None at the end of a session, of which `why` tells."""

    number: int = 0
    time: float = 0.0
    tracked: Tracked | None = None
    why: str = ""


def parse_message(text: str | bytes, axes: Axes) -> Message:
    """Read a message. Raises DeviceError if it is none."""
    try:
        content = json.loads(text)
        if not isinstance(content, dict):
            raise ValueError("no object")
        if content.get("type") == "end":
            return Message(why="".join(c for c in str(content.get("why", ""))[:100] if c.isprintable()))
        if content.get("type") != "pose":
            raise ValueError("neither a pose nor an end")
        number, milliseconds = content["n"], _number(content["t"], 0.0, 1e13)
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number < 2**53:
            raise ValueError("no count")
        return Message(number, milliseconds / 1e3, _tracked(content["hands"], axes))
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError) as error:
        what = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DeviceError(f"webxr: no message of the page: {what}") from None


def _tracked(hands: dict[str, Any], axes: Axes) -> Tracked:
    poses, values = {}, {}
    for name in THINGS:
        hand = hands.get(name)
        if hand is None:
            continue
        poses[name] = axes(_numbers(hand["p"], 3), _numbers(hand["q"], 4))
        for tip in TIPS:
            if hand.get(tip) is not None:
                poses[f"{name} {tip}"] = axes(_numbers(hand[tip], 3), UPRIGHT)
        if "trigger" in hand:
            values[f"{name} trigger"] = _number(hand["trigger"], 0.0, 1.0)
        if "squeeze" in hand:
            values[f"{name} clutch"] = _number(hand["squeeze"], 0.0, 1.0)
        for index, value in enumerate(hand.get("buttons", [])[:MOST_BUTTONS]):
            values[f"{name} button {index}"] = _number(value, 0.0, 1.0)
    for name, other in OTHER.items():  # of a bare hand, the other's pinch is the clutch
        if name in poses and f"{name} clutch" not in values:
            values[f"{name} clutch"] = float(_pinched(poses, other))
    return Tracked(poses, values)


def _pinched(poses: dict[str, np.ndarray], name: str) -> bool:
    tips = [poses[f"{name} {tip}"][:3] for tip in TIPS if f"{name} {tip}" in poses]
    return len(tips) == 2 and bool(np.linalg.norm(tips[0] - tips[1]) < PINCHED)


def _number(value: Any, low: float, high: float) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise ValueError(f"a number outside {low:g} to {high:g}")
    return float(value)


def _numbers(values: Any, count: int) -> list[float]:
    if not isinstance(values, list) or len(values) != count:
        raise ValueError(f"not {count} numbers")
    numbers = [_number(value, -1e6, 1e6) for value in values]
    if not all(math.isfinite(number) for number in numbers):
        raise ValueError("no finite numbers")
    return numbers
