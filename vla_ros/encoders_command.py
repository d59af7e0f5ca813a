"""`vla-ros encoders list | add | bpe`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from vla_ros.errors import PolicyError

app = typer.Typer(help="Observation encoders: what there is, and a new one for a trained policy.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """Print every encoder, the kinds of streams it reads, and what it is."""
    from vla_ros.encoders import ENCODERS
    from vla_ros.policy.registry import Part

    for name in ENCODERS.names:
        cls = ENCODERS.get(Part(name, None))
        what = " ".join((cls.__doc__ or "").split("\n\n")[0].split())
        print(f"{name:16} {', '.join(cls.kinds):22} {what}")


@app.command()
def add(
    checkpoint: Annotated[Path, typer.Option(help="folder of the trained policy")],
    output: Annotated[Path, typer.Option(help="checkpoint folder to write")],
    stream: Annotated[str, typer.Option(help="key of the new stream, such as observation.wrench.tool")],
    encoder: Annotated[str, typer.Option(help="its section as YAML: '{type: wrench, hidden: 32}'")],
    contract: Annotated[str | None, typer.Option(help="contract with the stream; default: the checkpoint's")] = None,
    dataset: Annotated[
        list[Path] | None, typer.Option(help="demonstrations with the stream, to normalise numbers; repeat for several")
    ] = None,
    seed: Annotated[int, typer.Option(help="of the new weights")] = 0,
) -> None:
    """Give a trained policy one more sensor; its other weights stay bit for bit what they were."""
    import numpy as np
    import yaml

    from vla_ros.contract import load_contract
    from vla_ros.policy.extend import add_encoder

    try:
        section: Any = yaml.safe_load(encoder)
    except yaml.YAMLError as error:
        raise PolicyError(f"--encoder is not YAML: {' '.join(str(error).split())}") from None
    samples = None
    if dataset:
        from vla_ros.data.joined import JoinedDataset

        samples = np.asarray(JoinedDataset(list(dataset)).column(stream), dtype=np.float32)
    result = add_encoder(
        checkpoint, output, stream, section, load_contract(contract) if contract else None, samples, seed
    )
    print(f"{result.output}: {result.kept} numbers as they were, {result.new} new ones for '{stream}'")


@app.command()
def bpe(
    output: Annotated[Path, typer.Option(help="JSON file to write")],
    dataset: Annotated[list[Path] | None, typer.Option(help="learn from its instructions; repeat for several")] = None,
    text: Annotated[
        list[Path] | None, typer.Option(help="learn from the lines of this file; repeat for several")
    ] = None,
    size: Annotated[int, typer.Option(help="entries at most, the 256 bytes among them")] = 512,
) -> None:
    """Learn a vocabulary of byte pairs for the encoder `byte_pairs`."""
    from vla_ros.encoders.bpe import BytePairs

    lines: list[str] = []
    for file in text or []:
        try:
            lines += file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise PolicyError(f"'{file}' cannot be read: {error}") from None
    if dataset:
        from vla_ros.data.joined import JoinedDataset

        lines += [episode.task for episode in JoinedDataset(list(dataset)).episodes]
    if not lines:
        raise PolicyError("nothing to learn from: give --dataset or --text")
    pairs = BytePairs.train((" ".join(line.lower().split()) for line in lines), size)
    pairs.save(output)
    print(f"{output}: {len(pairs)} entries from {len(lines)} texts")
