"""The gate: no command reaches the arm but through it.

It follows one source at a time, within the joint limits and the workspace, and comes to a stop with a stated
reason when anything is missing: the source's chunks, the joint states, the wrench that its force limit
needs. Times are [ns]; the clock is whatever the caller passes, so the same code runs live, simulated and in
tests.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from vla_ros.action import NANOSECONDS, ActionChunk
from vla_ros.chunk_check import ChunkCheck, Received
from vla_ros.chunking import Executor, LatestExecutor
from vla_ros.contract import Contract
from vla_ros.displaced import DisplacementWatch
from vla_ros.errors import ActionError, GateError, unknown_name
from vla_ros.gate_output import Command, GateOutput
from vla_ros.gate_reference import make_reference
from vla_ros.kinematics import Kinematics
from vla_ros.limits import MotionLimits, Setpoint, motion_limits
from vla_ros.workspace import WorkspaceGuard

FloatArray = npt.NDArray[np.float64]
IDLE, ACTIVE, HOLD, ESTOP = "idle", "active", "hold", "estop"
LOOKAHEAD = 2  # [periods] a setpoint is for this long after the tick that sends it: one late tick does no harm
SENSOR_TIMEOUT = 0.1  # [s] without joint states (or wrench, where its limit is set): hold
SMALLEST_MARGIN = 0.005  # [rad, m] but never less than this: a gripper that squeezes gives a little
RANGE_MARGIN = 0.02  # of a joint's range: measured positions this far outside are taken to be at its end
CLOCK_JUMP = 0.05  # [s] a joint state this much older than the last: the clock went back


class Gate:
    """Bounds and supervises the motion. Call `step` once a period; the other methods when something arrives.

    kinematics: over the contract's joints and tip. period: between ticks [s]. sources: who may ever be
    selected. Raises GateError when the contract's limits cannot be kept.
    """

    _setpoint: Setpoint | None  # of LOOKAHEAD periods after the last tick
    _ticked: int | None  # the last tick
    _measured: FloatArray | None  # joint positions, and when
    _measured_at: int
    _wrench_at: int | None
    _last: Received | None  # the last accepted chunk of the source
    _heard: int | None  # the source's last sign of life
    _chunk: ActionChunk | None  # the last accepted one as it came
    _silenced: bool  # that chunk was empty
    _fresh: bool  # the source has not moved the arm yet

    def __init__(
        self,
        contract: Contract,
        kinematics: Kinematics,
        period: float = 0.01,
        executor: Executor | None = None,
        sources: Sequence[str] = ("policy", "teleop"),
    ) -> None:
        if tuple(kinematics.joint_names) != contract.joint_names:
            raise GateError(f"kinematics has joints {kinematics.joint_names}, the contract's {contract.joint_names}")
        if contract.limits.wrench is not None and len(wrenches := contract.streams("wrench")) != 1:
            raise GateError(f"{contract.source}: limits.wrench wants one wrench stream, there are {len(wrenches)}")
        self.contract, self.sources = contract, tuple(sources)
        self.refused: Counter[str] = Counter()  # by source
        self.limits: MotionLimits = motion_limits(contract, kinematics, period)
        self._period = round(period * NANOSECONDS)
        self._executor: Executor = executor or LatestExecutor()
        self._check = ChunkCheck(contract)
        self._guard = WorkspaceGuard(kinematics, self.limits, contract.limits.workspace)
        self._reference = make_reference(contract, kinematics, self._guard, period)
        self._watch = DisplacementWatch(~np.isin(contract.joint_names, kinematics.tip_joints))
        self._source = self._estop = self._block = ""
        self.reset()

    @property
    def source(self) -> str:
        """Name of the selected source, '' for none."""
        return self._source

    @property
    def blocked(self) -> str:
        """Why nothing may be sent, '' when it may."""
        return self._block

    def reset(self) -> None:
        """Forget chunks, measurements and the setpoint, as after a jump of the clock; keep source and e-stop."""
        self._setpoint = self._ticked = self._measured = self._wrench_at = None
        self._measured_at = self._since = 0
        self._watch.reset()
        self._forget_chunks()

    def select(self, source: str | None, now: int = 0) -> None:
        """Give the arm to `source`, or to nobody; chunks from observations before `now` [ns] are passed over.

        Raises GateError for an unknown name or under an e-stop.
        """
        name = source or ""
        if name and name not in self.sources:
            raise GateError(unknown_name("source", name, self.sources))
        if name and self._estop:
            raise GateError(f"source '{name}' not selected: the e-stop is latched ({self._estop}); release it first")
        if name != self._source:
            self._source, self._since = name, now
            self._forget_chunks()

    def offer(self, source: str, chunk: ActionChunk, now: int) -> str | None:
        """Take a chunk from `source`; return why it is refused, None when it is not.

        The accepted chunk said once more is a sign of life, as long as it lasts, and changes no motion.
        """
        if source != self._source:
            return f"source '{source}' is not selected"
        if not chunk.empty and chunk.stamp < self._since:
            return None
        if chunk.repeats(self._chunk) and now <= chunk.end:
            self._heard = now
            return None
        try:
            checked = self._check(chunk, now, self._last)
            if not checked.empty:
                checked = replace(checked, values=self._reference.prepare(checked.values, self._setpoint))
                self._executor.add(checked, now)
        except ActionError as error:
            return self.refuse(source, str(error))
        if checked.empty:
            self._executor.clear()
        self._silenced = checked.empty
        self._last, self._heard, self._chunk = Received(checked.stamp, checked.sequence), now, chunk
        return None

    def confirm(self, stamp: int, now: int) -> None:
        """Take for a sign of life that a lockstep source owes nothing: its chunk of `stamp` [ns], if accepted, stands."""
        if self._last is not None and self._last.stamp >= stamp:
            self._heard = now

    def refuse(self, source: str, reason: str) -> str:
        """Count a refused chunk and return the reason; also for messages that cannot be read as a chunk."""
        self.refused[source] += 1
        return reason

    def joints(self, stamp: int, q: npt.ArrayLike) -> bool:
        """Take measured joint positions [N] in the contract's order; return False when they are of no use."""
        position = np.array(q, dtype=np.float64)
        if position.shape != self.limits.lower.shape or not np.isfinite(position).all():
            return False
        if self._measured is not None and stamp < self._measured_at:
            if self._measured_at - stamp <= CLOCK_JUMP * NANOSECONDS:
                return False  # overtaken by a newer one
            self.reset()
        self._measured, self._measured_at = position, stamp
        return True

    def wrench(self, stamp: int, wrench: npt.ArrayLike) -> bool:
        """Take the wrist's wrench [6] (N, Nm); a force above the contract's limit latches the e-stop."""
        values = np.asarray(wrench, dtype=np.float64).ravel()
        if values.shape != (6,) or not np.isfinite(values).all():
            return False
        self._wrench_at = stamp
        force, limit = float(np.linalg.norm(values[:3])), self.contract.limits.wrench
        if limit is not None and force > limit:
            self.estop(f"force of {force:.1f} N at the wrist, at most {limit:g} N allowed")
        return True

    def estop(self, reason: str) -> None:
        """Latch the e-stop: decelerate, hold, deselect the source. The first reason stays until `release`."""
        self._estop = self._estop or reason
        self.select(None)

    def release(self) -> None:
        """Release the e-stop; nothing moves until a source is selected again."""
        self._estop = ""

    def block(self, reason: str) -> None:
        """Come to rest and send nothing while `reason` is not empty; then start anew from measured joints."""
        if self._block and not reason:
            self._setpoint = None
            self._forget_chunks()
        self._block = reason

    def step(self, now: int) -> GateOutput:
        """Advance by one period and return what to send at time `now`.

        Ticks that were missed are made up for, as the arm braked meanwhile. A call less than half a period
        after the last one sends nothing. A `now` before the last one resets the gate.
        """
        if self._ticked is not None and now < self._ticked:
            self.reset()
        state, reason = self._judge(now)
        state, reason = self._check_place(state, reason)
        was_at_rest = False
        if self._setpoint is None:
            setpoint, problem = self._begin(now)
            if setpoint is None:
                return GateOutput(now, HOLD if state == ACTIVE else state, problem or reason, self._source, None)
        else:
            periods = round((now - (self._ticked or 0)) / self._period)
            if periods < 1:
                return GateOutput(now, state, reason, self._source, None)
            was_at_rest = self._setpoint.at_rest
            setpoint = self._brake(self._setpoint, periods - LOOKAHEAD)
            for k in range(min(periods, LOOKAHEAD), 0, -1):
                setpoint, note = self._advance(setpoint, state, now + (LOOKAHEAD + 1 - k) * self._period)
                reason = reason or note
        self._setpoint, self._ticked = setpoint, now
        silent = bool(self._block) and was_at_rest
        return GateOutput(now, state, reason, self._source, None if silent else self._command(now, setpoint))

    def _judge(self, now: int) -> tuple[str, str]:
        """Return the state and, where it is not 'active', the reason."""
        name, limits = self._source, self.contract.limits
        if self._estop:
            return ESTOP, self._estop
        if self._block:
            return HOLD, self._block
        if self._measured is None:
            return HOLD, f"no joint state yet on {self.contract.state.topic}"
        if (age := (now - self._measured_at) / NANOSECONDS) > SENSOR_TIMEOUT:
            return HOLD, f"joint states on {self.contract.state.topic} are {age:.2f} s old"
        if limits.wrench is not None and (reason := self._wrench_missing(now)):
            return HOLD, reason
        if not name:
            return IDLE, "no source is selected"
        if self._heard is None:
            return HOLD, f"waiting for a chunk from '{name}'"
        if (silence := (now - self._heard) / NANOSECONDS) > limits.quiet:
            return HOLD, f"source '{name}' is quiet for {silence:.2f} s"
        if self._silenced:
            return HOLD, f"source '{name}' asks to hold"
        return ACTIVE, ""

    def _wrench_missing(self, now: int) -> str:
        topic = self.contract.streams("wrench")[0].topic
        if self._wrench_at is None:
            return f"no wrench yet on {topic}, which limits.wrench needs"
        age = (now - self._wrench_at) / NANOSECONDS
        return f"the wrench on {topic} is {age:.2f} s old" if age > SENSOR_TIMEOUT else ""

    def _begin(self, now: int) -> tuple[Setpoint | None, str]:
        """Return a setpoint at the measured joints, or None and why not (they are old, or one of them is out of its range)."""
        if self._measured is None or self._block or now - self._measured_at > SENSOR_TIMEOUT * NANOSECONDS:
            return None, ""
        q, lower, upper = self._measured, self.limits.lower, self.limits.upper
        margin = np.maximum(RANGE_MARGIN * (upper - lower), SMALLEST_MARGIN)
        outside = np.maximum(lower - q, q - upper) > margin
        if outside.any():
            i = int(np.argmax(outside))
            joint = self.contract.joint_names[i]
            return (
                None,
                f"joint '{joint}' is at {q[i]:.3f}, outside [{lower[i]:.3f}, {upper[i]:.3f}]: bring it back",
            )
        return Setpoint(np.clip(q, lower, upper), np.zeros_like(q)), ""

    def _check_place(self, state: str, reason: str) -> tuple[str, str]:
        """Before a source moves the arm, make sure that it is where the gate left it, or start from where it is."""
        if self._setpoint is None or self._measured is None or (state == ACTIVE and not self._fresh):
            return state, reason
        if self._watch.displaced(self._setpoint, self._measured, self._measured_at):
            if self._watch.settled:
                self._setpoint = None
            elif state == ACTIVE:
                return HOLD, "the arm is not where it was left; waiting until it rests"
        self._fresh = state != ACTIVE
        return state, reason

    def _brake(self, setpoint: Setpoint, periods: int) -> Setpoint:
        while periods > 0 and not setpoint.at_rest:
            setpoint = self.limits.brake(setpoint)
            periods -= 1
        return setpoint

    def _advance(self, now: Setpoint, state: str, t: int) -> tuple[Setpoint, str]:
        """Return the setpoint after `now`, which is of time `t`, and a remark on what limited it."""
        target = self._executor.target(t) if state == ACTIVE else None
        if target is None:
            return self.limits.brake(now), ""
        after = self.limits.follow(now, *self._reference.joints(target, now.position))
        if self._guard.permits(now, after):
            return after, ""
        return self.limits.brake(now), "stopped at the edge of the workspace"

    def _command(self, now: int, setpoint: Setpoint) -> Command:
        periods, positions, velocities = self.limits.braking_path(setpoint)
        return Command(
            times=now + self._period * np.concatenate([[LOOKAHEAD], LOOKAHEAD + periods]),
            positions=np.vstack([setpoint.position, positions]),
            velocities=np.vstack([setpoint.velocity, velocities]),
            action=self._reference.action(setpoint.position),
        )

    def _forget_chunks(self) -> None:
        self._executor.clear()
        self._last = self._heard = self._chunk = None
        self._silenced, self._fresh = False, True
