"""Checks of one episode's motion: jumps, a state that does not follow its action, and idle stretches.

Bounds come from the contract's velocity limits, which the gate keeps for every setpoint it sends.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from vla_ros.contract import POSITION_SUFFIX, Contract
from vla_ros.data.tools.findings import NOTICE, SERIOUS, Finding, runs
from vla_ros.data.tools.rows import ACTION, STATE, EpisodeRows

JUMP = 1.5  # times the velocity limit: no arm behind a gate moves so fast from row to row
FAR = 0.5  # [s] at the velocity limit: the largest way a state may be from its action
LAG_NOTICE, LAG_SERIOUS = 0.15, 0.3  # [s]
LAG_RANGE = (-0.3, 1.0)  # [s] where the lag is looked for
FOLLOWS = 0.6  # correlation below which a state does not follow its action
STILL = 0.01  # share of the velocity limit below which nothing moves
IDLE = 2.0  # [s] the shortest idle stretch that is told
HAND = (2.0, 6.0, 0.5)  # [m/s], [rad/s], [m/s] limits of a hand without a robot: its way, its turning, its fingers
IDLE_SHARE = 0.5  # of an episode, from which on idling is serious
Array = npt.NDArray[np.float64]


def jumps(episode: EpisodeRows) -> Iterator[Finding]:
    """Find steps from row to row, of state and action, that no limit allows."""
    contract = episode.contract
    if contract is None:
        return
    for key, names in ((STATE, contract.state.names), (ACTION, contract.action.names)):
        values = _values(episode, key)
        if values is None or len(values) < 2:
            continue
        speed = _speeds(values, key, contract) * episode.fps
        over = speed / (JUMP * _limits(key, contract))
        row, column = np.unravel_index(int(np.nanargmax(over)), over.shape) if over.size else (0, 0)
        if over.size and over[row, column] > 1.0:
            count = int((over > 1.0).any(axis=1).sum())
            name = names[column] if len(names) == over.shape[1] else "tip"
            text = (
                f"{name} moves at {speed[row, column]:.2f}/s, limit {_limits(key, contract)[column]:.2f}/s; "
                f"{count} such steps in the episode"
            )
            yield Finding(SERIOUS, "jump", episode.index, episode.time(int(row) + 1), key, text)


def far_from_action(episode: EpisodeRows) -> Iterator[Finding]:
    """Find rows whose action is further from the state than the arm gets in half a second."""
    contract = episode.contract
    state, action = _values(episode, STATE), _values(episode, ACTION)
    if contract is None or state is None or action is None or contract.action.space != "joint_position":
        return
    columns = [contract.state.names.index(name) for name in contract.action.names]
    gap = np.abs(action - state[:, columns])
    over = gap / (FAR * _limits(ACTION, contract))
    if over.size and (over > 1.0).any():
        row, column = np.unravel_index(int(np.nanargmax(over)), over.shape)
        text = (
            f"{contract.action.names[column]}: action {action[row, column]:.3f}, state "
            f"{state[row, columns[column]]:.3f}; {int((over > 1.0).any(axis=1).sum())} such rows"
        )
        yield Finding(SERIOUS, "far", episode.index, episode.time(int(row)), ACTION, text)


def lag(episode: EpisodeRows) -> Iterator[Finding]:
    """Find a state that follows its action late, early, or not at all."""
    found = action_lag(episode)
    if found is None:
        return
    seconds, correlation = found
    if correlation < FOLLOWS:
        text = f"the state does not follow the action (correlation {correlation:.2f})"
        yield Finding(NOTICE, "lag", episode.index, 0.0, STATE, text)
    elif seconds >= LAG_NOTICE:
        text = f"the state follows the action {seconds * 1e3:.0f} ms late (correlation {correlation:.2f})"
        severity = SERIOUS if seconds >= LAG_SERIOUS else NOTICE
        yield Finding(severity, "lag", episode.index, 0.0, STATE, text)
    elif seconds <= -2 / episode.fps:
        text = f"the state runs {-seconds * 1e3:.0f} ms ahead of the action: the action is recorded late"
        yield Finding(SERIOUS, "lag", episode.index, 0.0, STATE, text)


def action_lag(episode: EpisodeRows) -> tuple[float, float] | None:
    """Return (lag [s], correlation) at which the state's velocity fits the action's best.

    0 s is a state that reaches its row's action in the next row, as the action is meant. Joint actions are
    compared joint by joint, poses by their speed. None where too little moves to tell.
    """
    contract = episode.contract
    hand = contract is not None and contract.robot_free
    state, action = _values(episode, contract.action.follows if contract and hand else STATE), _values(episode, ACTION)
    if state is None or action is None or len(state) < 2 * episode.fps * LAG_RANGE[1]:
        return None
    moved, asked = np.diff(state[:, :3] if hand else state, axis=0), np.diff(action, axis=0)
    if contract is not None and contract.action.space == "joint_position":
        moved = moved[:, [contract.state.names.index(name) for name in contract.action.names]]
    elif contract is not None:
        moved, asked = np.linalg.norm(moved, axis=1)[:, None], np.linalg.norm(asked[:, :3], axis=1)[:, None]
        moved, asked = moved - moved.mean(), asked - asked.mean()
    if moved.shape != asked.shape or min(np.abs(moved).max(), np.abs(asked).max()) < 1e-4:
        return None
    shifts = range(round(LAG_RANGE[0] * episode.fps), round(LAG_RANGE[1] * episode.fps) + 1)
    fits = [_correlation(asked, moved, shift) for shift in shifts]
    best = int(np.argmax(fits))
    return (shifts[best] - 1) / episode.fps, fits[best]


def idle(episode: EpisodeRows) -> Iterator[Finding]:
    """Find stretches in which neither state nor action moves."""
    contract = episode.contract
    state, action = _values(episode, STATE), _values(episode, ACTION)
    if contract is None or state is None or action is None or len(state) < 2:
        return
    moving = _speeds(state, STATE, contract) * episode.fps >= STILL * _limits(STATE, contract)
    asked = _speeds(action, ACTION, contract) * episode.fps >= STILL * _limits(ACTION, contract)
    still = np.logical_not(np.any(np.concatenate([moving, asked], axis=1), axis=1))
    long = [run for run in runs(still) if run[1] - run[0] >= IDLE * episode.fps]
    share = sum(end - first for first, end in long) / len(still)
    for first, end in long:
        severity = SERIOUS if share > IDLE_SHARE else NOTICE
        text = f"nothing moves for {(end - first) / episode.fps:.1f} s of {len(state) / episode.fps:.1f} s"
        yield Finding(severity, "idle", episode.index, episode.time(first), STATE, text)


def _values(episode: EpisodeRows, key: str) -> Array | None:
    values = episode.columns.get(key)
    return None if values is None else np.asarray(values, dtype=np.float64).reshape(len(values), -1)


def _speeds(values: Array, key: str, contract: Contract) -> Array:
    """Return the way from row to row [T - 1, columns]; a pose counts as its way, its angle, and its joints."""
    steps = np.abs(np.diff(values, axis=0))
    if key != ACTION or contract.action.space == "joint_position":
        return steps
    dots = np.abs((values[1:, 3:7] * values[:-1, 3:7]).sum(axis=1)).clip(0.0, 1.0)
    pose = np.stack([np.linalg.norm(steps[:, :3], axis=1), 2.0 * np.arccos(dots)], axis=1)
    return np.concatenate([pose, steps[:, 7:]], axis=1)


def _limits(key: str, contract: Contract) -> Array:
    """Return the velocity limit of each column of `_speeds`. A tip's is that of three joints on a metre."""
    if contract.robot_free:
        fingers = len(contract.joint_names) if key == STATE else len(contract.action.names) - 7
        return np.array([*(HAND[:2] if key == ACTION else ()), *[HAND[2]] * fingers])
    if key == STATE:
        return contract.limits.velocity_for(contract.joint_names)
    names = contract.action.names
    if contract.action.space == "joint_position":
        return contract.limits.velocity_for(tuple(n.removesuffix(POSITION_SUFFIX) for n in names))
    joints = tuple(n.removesuffix(POSITION_SUFFIX) for n in names[7:])
    tip = 3.0 * contract.limits.velocity_for(contract.joint_names).max()
    return np.concatenate([[tip, tip], contract.limits.velocity_for(joints)])


def _correlation(asked: Array, moved: Array, shift: int) -> float:
    rows = len(asked)
    a = asked[max(0, -shift) : rows - max(0, shift)]
    b = moved[max(0, shift) : rows + min(0, shift)]
    norm = np.sqrt((a * a).sum() * (b * b).sum())
    return float((a * b).sum() / norm) if norm > 0 else 0.0


MOTION_CHECKS = (jumps, far_from_action, lag, idle)
