"""One self-contained HTML page of a dataset: plots, videos beside them, and the way from episode to episode."""

from __future__ import annotations

import html
import json
from collections.abc import Sequence
from pathlib import Path

from vla_ros.data import layout
from vla_ros.data.reader import Dataset
from vla_ros.data.tools.summary import describe, summary
from vla_ros.data.tools.view.content import episode_content
from vla_ros.errors import DatasetError
from vla_ros.paths import share_path

PARTS = "config/view"


def write_page(
    root: str | Path, output: str | Path, episodes: Sequence[int] | None = None, embed: bool = False
) -> Path:
    """Write the page of a dataset, or of some of its episodes, to the file `output`; return its path.

    embed: carry the videos in the page, which then needs nothing else; otherwise they stay in the dataset.
    Raises DatasetError naming what cannot be read or written.
    """
    dataset, page = Dataset(root), Path(output)
    unknown = [index for index in episodes or () if not 0 <= index < dataset.num_episodes]
    if unknown:
        raise DatasetError(f"dataset '{root}' has no episode {unknown[0]}; valid: 0..{dataset.num_episodes - 1}")
    chosen = [dataset.episodes[i] for i in (range(dataset.num_episodes) if episodes is None else episodes)]
    content = {
        "title": Path(root).absolute().name,
        "summary": summary(describe(root)),
        "episodes": [episode_content(dataset, episode, page, embed) for episode in chosen],
    }
    try:
        layout.write_text(page, _assembled(content["title"], json.dumps(content, separators=(",", ":"))))
    except OSError as error:
        raise DatasetError(f"page '{page}' cannot be written: {error}") from None
    return page


def _assembled(title: object, data: str) -> str:
    parts = {
        name: (share_path(PARTS) / name).read_text(encoding="utf-8") for name in ("page.html", "page.css", "page.js")
    }
    safe = data.replace("</", "<\\/")  # no text of the dataset ends the script
    return (
        parts["page.html"]
        .replace("{{title}}", html.escape(str(title)))
        .replace("{{style}}", parts["page.css"])
        .replace("{{script}}", parts["page.js"])
        .replace("{{data}}", safe)
    )
