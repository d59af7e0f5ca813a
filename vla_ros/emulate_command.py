"""``vla-ros emulate DEVICE``: a device without the hardware, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
from typing import Annotated

import typer


def command(
    device: Annotated[str, typer.Argument(help="which device")] = "",
    show: Annotated[bool, typer.Option("--list", help="name the devices")] = False,
) -> None:
    """Emulate a device on its real protocol. Prints the address for a driver; a line typed in sets a fault."""
    from vla_ros.emulators import EMULATORS, FAULTS, make_emulator

    if show or not device:
        print("\n".join(sorted(EMULATORS)))
        return
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends as Ctrl-C does: the emulator puts its things away
    with make_emulator(device) as emulator:
        print(f"{device} at {emulator.address}; faults, one a line: {', '.join(FAULTS)}; Ctrl-C ends it", flush=True)
        for line in sys.stdin:
            if (fault := line.strip()) in FAULTS:
                emulator.fault = fault
                print(f"{device}: {fault}: {FAULTS[fault]}", flush=True)
            elif fault:
                print(f"{device}: no fault '{fault}'; valid: {', '.join(FAULTS)}", flush=True)
        emulator.wait()
