"""The page and the Rerun recording of a dataset hold what the dataset holds."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from recordings import FRONT, small_contract
from spoiled import demonstrate
from typer.testing import CliRunner

from vla_ros.cli import app
from vla_ros.data import Dataset, DatasetWriter
from vla_ros.data.tools.view.page import write_page
from vla_ros.errors import DatasetError


def jump(k: int, row: dict[str, Any]) -> None:
    row["observation.state"] = row["observation.state"] + 0.2 * (k >= 30)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = demonstrate(tmp_path_factory.mktemp("view") / "my set", task="</script><b>do it", spoil=jump)
    with DatasetWriter(folder, small_contract()) as writer:
        writer.add_note("the <b>gripper slipped", 1.2, episode=1)
    return folder


def content(page: Path) -> dict[str, Any]:
    text = page.read_text(encoding="utf-8")
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)
    assert found is not None
    return dict(json.loads(found[1]))


def test_a_page_holds_every_episode_with_its_curves_and_findings(root: Path, tmp_path: Path) -> None:
    told = content(write_page(root, tmp_path / "page.html"))
    first, last = told["episodes"]
    assert (first["task"], first["rows"], first["findings"]) == ("</script><b>do it", 75, [])
    assert [f["kind"] for f in last["findings"]] == ["jump", "far"] or "jump" in [f["kind"] for f in last["findings"]]
    panels = {panel["title"]: panel for panel in first["panels"]}
    state = Dataset(root).column("observation.state", 0)
    assert [c["name"] for c in panels["observation.state"]["curves"]] == ["a.pos", "b.pos"]
    assert panels["observation.state"]["curves"][0]["values"] == pytest.approx(state[:, 0], rel=1e-3)
    assert panels["age of the samples [ms]"]["limits"][0] == pytest.approx(70)
    assert {"action", "observation.wrench.tool [N, Nm]", "observation.tactile.left [N]"} < panels.keys()


def test_videos_are_named_relative_to_the_page_or_carried_in_it(root: Path, tmp_path: Path) -> None:
    page = write_page(root, tmp_path / "deep/page.html")
    video = content(page)["episodes"][1]["videos"][0]
    assert (page.parent / unquote(video["source"])).resolve().is_file() and video["source"].endswith("file-001.mp4")
    assert (video["name"], video["start"], video["end"]) == (FRONT, 0.0, 2.5)
    embedded = content(write_page(root, tmp_path / "all.html", episodes=[1], embed=True))["episodes"]
    assert len(embedded) == 1 and embedded[0]["videos"][0]["source"].startswith("data:video/mp4;base64,")


def test_a_page_needs_nothing_from_elsewhere(root: Path, tmp_path: Path) -> None:
    text = write_page(root, tmp_path / "page.html").read_text()
    assert not re.search(r'(src|href)="|https?://', text) and text.count("</script>") == 2


def test_the_command_writes_into_the_dataset_by_default(root: Path) -> None:
    result = CliRunner().invoke(app, ["dataset", "view", str(root), "--episodes", "0"])
    assert result.exit_code == 0 and len(content(root / "view.html")["episodes"]) == 1
    with pytest.raises(DatasetError, match="no episode 9; valid: 0..1"):
        write_page(root, root / "view.html", episodes=[9])


@pytest.mark.slow
def test_a_browser_draws_the_page_without_an_error(root: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("no Chromium is installed")
    page = write_page(root, tmp_path / "page.html", embed=True)
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path / 'profile'}"]
    command = [browser, *options, "--enable-logging=stderr", "--dump-dom", f"{page.as_uri()}#1@1.5"]
    result = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert "episode 1: &lt;/script&gt;" in result.stdout and "1.50 of 2.50 s" in result.stdout
    assert "1.20 s  note: the &lt;b&gt;gripper slipped" in result.stdout
    assert result.stdout.count("<canvas") == 5 and "Uncaught" not in result.stderr


def test_a_rerun_recording_holds_curves_and_videos(root: Path, tmp_path: Path) -> None:
    pytest.importorskip("rerun", reason="rerun-sdk is not installed")
    program = str(Path(sys.executable).with_name("rerun"))
    path = tmp_path / "set.rrd"
    result = CliRunner().invoke(app, ["dataset", "view", str(root), "--rerun", str(path)])
    assert result.exit_code == 0, result.exception
    shown = subprocess.run([program, "rrd", "print", str(path)], capture_output=True, text=True, timeout=110)
    for entity in ("observation/state", "observation/images/front", "action", "sync/age", "task"):
        assert f"/episode_1/{entity}" in shown.stdout, entity
