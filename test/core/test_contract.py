"""The contract loader accepts the shipped files and refuses wrong ones with one line that helps."""

from pathlib import Path

import numpy as np
import pytest
import yaml

from vla_ros.contract import check_joints, load_contract, parse_contract
from vla_ros.errors import ContractError

BASE = """
robot: toy
urdf: toy.urdf
rate: 10
observation:
  observation.state: {topic: /joint_states, kind: joints, names: [a.pos, b.pos]}
  observation.images.top: {topic: /top, kind: image, shape: [4, 6, 3]}
  task: {topic: /instruction, kind: text}
action:
  space: joint_position
  names: [a.pos, b.pos]
  command: {interface: joint_trajectory, topic: /arm/joint_trajectory}
limits: {velocity: 1.0, acceleration: 2.0}
"""


def changed(**paths):
    """Return BASE with values set at dotted-by-slash paths; None deletes."""
    data = yaml.safe_load(BASE)
    for path, value in paths.items():
        *parents, last = path.split("/")
        node = data
        for parent in parents:
            node = node[parent]
        if value is None:
            del node[last]
        else:
            node[last] = value
    return yaml.safe_dump(data, sort_keys=False)


@pytest.mark.parametrize("name", ["tabletop_arm", "tabletop_arm_ee"])
def test_shipped_contracts_load_by_name_and_by_file(name):
    by_name = load_contract(name)
    assert load_contract(Path(by_name.source)) == by_name
    assert len(by_name.joint_names) == 7


def test_limits_given_per_joint_follow_the_names_asked_for():
    limits = parse_contract(changed(**{"limits/velocity": {"a": 1.0, "b": 2.0}}), "x").limits
    np.testing.assert_array_equal(limits.velocity_for(("b", "a")), [2.0, 1.0])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"observation/task/topc": "/x"}, ["topc", "did you mean 'topic'", "toy.yaml"]),
        ({"rat": 3}, ["'rat'", "did you mean 'rate'"]),
        ({"rate": 0}, ["rate", "positive"]),
        ({"rate": True}, ["rate", "True"]),
        ({"rate": None}, ["'rate' is missing"]),
        ({"action/space": "joint_velocity"}, ["joint_velocity", "joint_position", "ee_pose"]),
        ({"action/names": ["a.pos", "c.pos"]}, ["c.pos", "a.pos, b.pos"]),
        ({"action/names": ["a.pos", "a.pos"]}, ["a.pos", "twice"]),
        ({"action/command/interface": "servo"}, ["servo", "forward, joint_trajectory"]),
        ({"action/command/topic": "arm"}, ["'arm'", "absolute topic"]),
        ({"observation/observation.images.top/shape": [4, 6]}, ["[4, 6]", "[H, W, 3]"]),
        ({"observation/observation.images.top/align": "interpolate"}, ["interpolated", "asof"]),
        ({"observation/observation.images.top/kind": "picture"}, ["picture", "image"]),
        ({"observation/observation.images.top/topic": "/joint_states"}, ["/joint_states", "observation.state"]),
        ({"observation/observation.state/names": ["a", "b.pos"]}, ["'a'", ".pos"]),
        ({"observation/observation.state": None}, ["observation.state", "has 0"]),
        ({"limits/velocity": {"a": 1.0}}, ["joint 'b'"]),
        ({"limits/velocity": -1}, ["-1", "positive"]),
        ({"limits/workspace": [[1, 0], [0, 1], [0, 1]]}, ["x is [1.0, 0.0]", "low < high"]),
    ],
)
def test_a_wrong_contract_is_refused_in_one_line_that_names_key_and_file(change, words):
    with pytest.raises(ContractError) as error:
        parse_contract(changed(**change), "toy.yaml")
    text = str(error.value)
    assert "\n" not in text
    assert all(word in text for word in ["toy.yaml", *words]), text


def test_a_name_that_does_not_exist_lists_the_ones_that_do():
    with pytest.raises(ContractError, match="tabletop_arm"):
        load_contract("tabletop_leg")


def test_text_that_is_not_yaml_is_refused(tmp_path):
    file = tmp_path / "bad.yaml"
    file.write_text("robot: [")
    with pytest.raises(ContractError, match=r"bad\.yaml: not YAML"):
        load_contract(file)


def test_a_joint_missing_from_the_robot_is_named_with_the_valid_ones():
    with pytest.raises(ContractError, match=r"joint 'b' is not in 'toy.urdf'; valid: a, c"):
        check_joints(parse_contract(BASE, "toy.yaml"), ("a", "c"))


def test_a_unit_is_of_taxels_alone_and_must_agree_where_both_say_it():
    def pad(unit, kind="taxels"):
        stream = {"topic": "/pad", "kind": kind, "shape": [4, 4, 3], **({"unit": unit} if unit else {})}
        key = {"taxels": "observation.tactile.pad", "image": "observation.images.pad"}[kind]
        return parse_contract(changed(**{f"observation/{key}": stream}), f"{unit}.yaml")

    assert pad("uT").observation["observation.tactile.pad"].unit == "uT"
    assert pad("uT").differences(pad("")) == [] == pad("").differences(pad("N")) == pad("N").differences(pad("N"))
    (line,) = pad("uT").differences(pad("N"))
    assert line == "observation.tactile.pad.unit: uT in uT.yaml, N in N.yaml"
    with pytest.raises(ContractError, match=r"unit: unknown unit 'ut'; valid: N, counts, uT"):
        pad("ut")
    with pytest.raises(ContractError, match="a stream of kind 'image' has none to choose"):
        pad("N", "image")


def test_differences_name_what_training_and_robot_disagree_on_and_nothing_else():
    mine = parse_contract(BASE, "mine")
    assert mine.differences(parse_contract(changed(**{"limits/velocity": 9.0}), "robot")) == []
    other = parse_contract(changed(**{"observation/observation.images.top/shape": [8, 6, 3]}), "robot")
    (line,) = mine.differences(other)
    assert "observation.images.top" in line and "[8, 6, 3]" in line
