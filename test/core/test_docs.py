"""What the documentation says is what the code does."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from typer.main import get_command

from vla_ros.cli import app
from vla_ros.contract import check_joints, parse_contract
from vla_ros.errors import VlaRosError
from vla_ros.paths import share_path
from vla_ros.robot import load_urdf, movable_joints

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
MISTAKES = re.findall(
    r"^\| `(.+?)` \| `(.+?)` \| `(my_arm\.yaml: .+?)` \|$",
    (ROOT / "docs/contract.md").read_text(encoding="utf-8"),
    re.MULTILINE,
)


def commands() -> list[str]:
    """Every line of a code block that calls vla-ros or the demo, without its comment, and every such call in a sentence."""
    lines = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for block in re.findall(r"```(?:bash|sh|console)\n(.*?)```", text, re.DOTALL):
            joined = block.replace("\\\n", " ").splitlines()
            lines += [re.split(r"\s+(?:#|&|\|)", line)[0].strip() for line in joined]
        sentences = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
        lines += [" ".join(call.split()) for call in re.findall(r"`(vla-ros [a-z][^`]*)`", sentences)]
    return sorted({line for line in lines if re.match(r"(\.venv/bin/)?vla-ros |bash scripts/demo\.sh", line)})


@pytest.mark.parametrize(("right", "wrong", "message"), MISTAKES, ids=[wrong for _, wrong, _ in MISTAKES])
def test_a_mistake_in_a_contract_is_answered_as_the_page_says(right: str, wrong: str, message: str) -> None:
    text = share_path("config/contracts/tabletop_arm.yaml").read_text(encoding="utf-8")
    assert right in text
    with pytest.raises(VlaRosError) as caught:
        contract = parse_contract(text.replace(right, wrong), "my_arm.yaml")
        check_joints(contract, movable_joints(load_urdf(contract.urdf)))
    assert str(caught.value) == message


def test_the_page_about_contracts_shows_mistakes() -> None:
    assert len(MISTAKES) >= 5


@pytest.mark.parametrize("line", commands())
def test_a_command_that_is_shown_exists_with_its_options(line: str) -> None:
    words = shlex.split(line.replace("bash scripts/demo.sh", "vla-ros demo"))[1:]
    command = get_command(app)
    while words and hasattr(command, "commands"):
        assert words[0] in command.commands, f"vla-ros has no command '{words[0]}'"
        command = command.commands[words.pop(0)]
    known = {option for parameter in command.params for option in parameter.opts + parameter.secondary_opts}
    used = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert used - known - {"--help"} == set()
    if used - {"--help"} and "$" not in line:  # a call without options may only name the command
        needed = {
            parameter.opts[0] for parameter in command.params if parameter.required and parameter.opts[0][:2] == "--"
        }
        assert needed - used == set(), "options that it needs"


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not re.match(r"\w+:", target)]
    assert [target for target in local if not (page.parent / target).exists()] == []
