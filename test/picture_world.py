"""A small picture world for the learning tests: coloured squares on a table, and a point that goes to the
named one.

It implements the interface that training needs of a dataset, and renders the same pictures for closed-loop
trials.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from vla_ros.contract import Contract, parse_contract
from vla_ros.errors import DatasetError
from vla_ros.observation import Observation
from vla_ros.policy import Policy

COLOURS = {"red": (200, 40, 40), "green": (40, 170, 60), "blue": (50, 70, 210)}
PHRASES = (
    "pick up the {} cube and put it in the bin",
    "put the {} cube in the bin",
    "take the {} cube and drop it into the bin",
    "move the {} cube to the bin",
)
UNSEEN_PHRASES = ("grab the {} block please", "I would like the {} one in the box", "{} cube, bin, now!")
METRES = 0.004  # a pixel of the 160 x 120 picture [m]
NAMES = ("x.pos", "y.pos", "gripper.pos")


def picture_contract(size: tuple[int, int] = (120, 160), wrist: bool = False, touch: bool = False) -> Contract:
    """Return the contract of the picture world: a front camera, a state (x, y, gripper) [m], an
    instruction."""
    h, w = size
    lines = [
        "robot: picture",
        "urdf: none",
        "rate: 30",
        "observation:",
        f"  observation.images.front: {{topic: /front, kind: image, shape: [{h}, {w}, 3]}}",
        f"  observation.state: {{topic: /joint_states, kind: joints, names: [{', '.join(NAMES)}]}}",
        "  task: {topic: /instruction, kind: text}",
    ]
    if wrist:
        lines.append(f"  observation.images.wrist: {{topic: /wrist, kind: image, shape: [{h}, {w}, 3]}}")
    if touch:
        lines.append("  observation.wrench.tool: {topic: /wrench, kind: wrench, history: 4}")
        lines.append("  observation.tactile.left: {topic: /left, kind: taxels, shape: [2, 2, 3]}")
    lines += [
        f"action: {{space: joint_position, names: [{', '.join(NAMES)}], command: {{interface: forward, topic: /commands}}}}",
        "limits: {velocity: 1.0, acceleration: 5.0}",
    ]
    return parse_contract("\n".join(lines), "picture.yaml")


@dataclass
class Scene:
    """Where the squares are [m], what is wanted, and the light."""

    places: dict[str, npt.NDArray[np.float64]]
    target: str
    instruction: str
    shade: float

    @staticmethod
    def random(rng: np.random.Generator, phrases: tuple[str, ...] = PHRASES) -> Scene:
        """Return a scene whose squares do not overlap."""
        places: dict[str, npt.NDArray[np.float64]] = {}
        for colour in COLOURS:
            while True:
                p = rng.uniform((-0.22, -0.14), (0.22, 0.16))
                if all(np.abs(p - q).max() > 0.05 for q in places.values()):
                    break
            places[colour] = p
        target = str(rng.choice(list(COLOURS)))
        instruction = phrases[rng.integers(len(phrases))].format(target)
        return Scene(places, target, instruction, float(rng.uniform(0.9, 1.1)))

    def front(self, hand: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return what the fixed camera sees, uint8 [h, w, 3]."""
        image = self._table(size, np.zeros(2), 160 / size[1] * METRES)
        h, w = size
        scale = METRES * 160 / w
        end = hand[:2] / scale + np.array([w / 2, h / 2])
        for s in np.linspace(0, 1, h):  # the arm hangs in from the picture's top
            x, y = (1 - s) * np.array([w / 2, 0.0]) + s * end
            half = max(2, w // 50)
            image[max(0, int(y) - 1) : int(y) + 2, max(0, int(x) - half) : max(0, int(x) + half)] = 90
        return image

    def wrist(self, hand: npt.NDArray[np.float64], size: tuple[int, int]) -> npt.NDArray[np.uint8]:
        """Return what a camera moving with the hand sees, at twice the scale."""
        return self._table(size, hand[:2], 80 / size[1] * METRES)

    def _table(self, size: tuple[int, int], centre: npt.NDArray[np.float64], scale: float) -> npt.NDArray[np.uint8]:
        h, w = size
        y, x = np.mgrid[0:h, 0:w]
        mx, my = (x - w / 2) * scale + centre[0], (y - h / 2) * scale + centre[1]  # metres of each pixel
        base = 150 + 12 * np.sin(mx * 40) * np.sin(my * 30)
        image = np.repeat(base[..., None], 3, axis=2)
        image[(mx > 0.26) & (np.abs(my) < 0.06)] = (70, 70, 80)  # the bin
        for colour, rgb in COLOURS.items():
            p = self.places[colour]
            inside = (np.abs(mx - p[0]) < 0.02) & (np.abs(my - p[1]) < 0.02)
            image[inside] = rgb
        return np.clip(image * self.shade, 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Episode:
    """Rows and instruction of one demonstration."""

    length: int
    task: str


class PictureData:
    """Demonstrations: the hand goes to the named square on a smooth path."""

    fps = 30.0

    def __init__(
        self,
        episodes: int,
        seed: int = 0,
        size: tuple[int, int] = (120, 160),
        rows: int = 25,
        wrist: bool = False,
        touch: bool = False,
    ) -> None:
        rng = np.random.default_rng(seed)
        self.size, self.wrist = size, wrist
        self.contract = picture_contract(size, wrist, touch)
        self.scenes = [Scene.random(rng) for _ in range(episodes)]
        self.episodes = [Episode(rows, scene.instruction) for scene in self.scenes]
        self.num_frames = rows * episodes
        self.paths = [demonstrate(scene, rng, rows) for scene in self.scenes]
        self.seed = seed

    def column(self, key: str) -> npt.NDArray[np.float32]:
        """Return the state, the action (the next state) or the touch streams."""
        if key == "observation.state":
            return np.concatenate([p[:-1] for p in self.paths]).astype(np.float32)
        if key == "action":
            return np.concatenate([p[1:] for p in self.paths]).astype(np.float32)
        if key not in self.contract.observation:
            raise DatasetError(f"the picture world has no '{key}'")
        rng = np.random.default_rng(1)
        return rng.normal(size=(self.num_frames, *self.contract.observation[key].value_shape)).astype(np.float32)

    def frames(self, key: str, episode: int) -> npt.NDArray[np.uint8]:
        """Return an episode's pictures, uint8 [T, h, w, 3]."""
        scene = self.scenes[episode]
        view = scene.wrist if key.endswith("wrist") else scene.front
        return np.stack([view(hand, self.size) for hand in self.paths[episode][:-1]])

    @cached_property
    def text(self) -> str:
        """All instructions, for a look."""
        return "\n".join(e.task for e in self.episodes)


def demonstrate(scene: Scene, rng: np.random.Generator, rows: int) -> npt.NDArray[np.float64]:
    """Return a path [rows + 1, 3]: minimum jerk from a random start, through some noise, to the target; then
    closes."""
    start = np.array([rng.uniform(-0.1, 0.1), -0.2])
    goal = scene.places[scene.target]
    s = np.clip(np.arange(rows + 1) / (0.85 * rows), 0, 1)[:, None]
    blend = 10 * s**3 - 15 * s**4 + 6 * s**5
    bow = rng.normal(0, 0.02, 2) * np.sin(np.pi * s)
    return np.concatenate([start + blend * (goal - start) + bow, 0.04 * (s < 1)], axis=1)


def observe(scene: Scene, hand: npt.NDArray[np.float64], contract: Contract, stamp: int = 0) -> Observation:
    """Return what a policy sees with the hand at [x, y, gripper]."""
    size = contract.observation["observation.images.front"].shape[:2]
    values: dict[str, object] = {
        "observation.images.front": scene.front(hand, size),
        "observation.state": hand.astype(np.float32),
        "task": scene.instruction,
    }
    if "observation.images.wrist" in contract.observation:
        values["observation.images.wrist"] = scene.wrist(hand, size)
    return Observation(stamp, values)


def trial(policy: Policy, scene: Scene, contract: Contract, steps: int = 45, execute: int = 8) -> float:
    """Run a closed loop from above the picture's middle; return the distance to the target at its end [m].

    `execute` targets of each chunk are done before the next is asked for: with one, a policy trained on motions
    that never pause tends to stay where it is.
    """
    hand = np.array([0.0, -0.2, 0.04])
    for _ in range(0, steps, execute):
        hand = policy.predict(observe(scene, hand, contract)).values[:execute][-1].copy()
    return float(np.linalg.norm(hand[:2] - scene.places[scene.target]))
