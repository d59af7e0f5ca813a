"""What a person sees of a training: a progress bar in the terminal, curves in TensorBoard."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

CURVES = "curves"
PLAIN_EVERY = 1000  # steps between lines where there is no terminal


class Report:
    """A context manager around one training; `progress` is False for silence."""

    def __init__(self, output: Path, progress: bool) -> None:
        self._folder = output / CURVES
        self._show = progress
        self._console = Console()
        self._bars: dict[str, TaskID] = {}
        self._bar: Progress | None = None
        self._writer: Any = None
        self._last = ""

    def __enter__(self) -> Report:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(str(self._folder))  # type: ignore[no-untyped-call]
        if self._show and self._console.is_terminal:
            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeRemainingColumn(),
                TextColumn("{task.fields[note]}"),
            )
            self._bar = Progress(*columns, console=self._console)
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()
        self._writer.close()

    def progress(self, what: str, done: int, total: int, note: str = "") -> None:
        """Show that `done` of `total` parts of `what` are finished."""
        if self._bar is not None:
            if what not in self._bars:
                self._bars[what] = self._bar.add_task(what, total=total, note=note)
            self._bar.update(self._bars[what], completed=done, note=note)
        elif self._show and done == total and not note:
            self._console.print(f"{what}: {done}")

    def step(self, step: int, total: int, terms: Mapping[str, float], speed: float) -> None:
        """Log the mean loss terms of the last steps and the speed [steps/s]."""
        for name, value in terms.items():
            self._writer.add_scalar(f"train/{name}", value, step)
        self._writer.add_scalar("train/steps_per_second", speed, step)
        note = f"loss {terms['loss']:.4f}  {speed:.1f} step/s{self._last}"
        self.progress("train", step, total, note)
        if self._bar is None and self._show and (step % PLAIN_EVERY == 0 or step == total):
            self._console.print(f"step {step}/{total}  {note}")

    def validation(self, step: int, errors: Mapping[str, float]) -> None:
        """Log the held-out errors."""
        for name, value in errors.items():
            self._writer.add_scalar(f"validation/{name}", value, step)
        self._last = f"  held out {errors['l1']:.4f}"
