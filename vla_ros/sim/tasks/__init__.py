"""The tasks by name. A new task is one file and one entry here."""

from __future__ import annotations

from vla_ros.errors import SimulationError, unknown_name
from vla_ros.sim.tasks.base import Scene, Task, Verdict, View, colour_in
from vla_ros.sim.tasks.insert import Insert
from vla_ros.sim.tasks.pick_place import PickPlace
from vla_ros.sim.tasks.reach import Reach
from vla_ros.sim.tasks.weigh import Weigh

__all__ = ["TASKS", "Scene", "Task", "Verdict", "View", "colour_in", "get_task"]

TASKS: dict[str, type[Task]] = {"reach": Reach, "pick_place": PickPlace, "weigh": Weigh, "insert": Insert}


def get_task(name: str) -> Task:
    """Return the task of that name; SimulationError lists the valid ones."""
    if name not in TASKS:
        raise SimulationError(unknown_name("task", name, TASKS))
    return TASKS[name]()
