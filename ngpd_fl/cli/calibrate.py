"""``ngpd-fl calibrate``: measurement of this machine as a device class, for ``devices.table``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ngpd_fl.cli import flags
from ngpd_fl.cli.console import print_lines

Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE", help="the device table, .toml; its name is that of the class", rich_help_panel=flags.FILES
    ),
]


@flags.with_config_flags("data", "strategy.name", "model.name", "training.local_steps", "engine")
def calibrate(given: flags.ConfigFlags, out: Out) -> None:
    """Measure this machine's time for a local step and write it as a device class; takes the flags of run.

    It takes up to half a minute. Links and power cannot be measured: put them into the file by hand.
    """
    from ngpd_fl.config import InputError

    settings = given.load()
    if out.suffix != ".toml":
        raise InputError(f"out: {out} is no device table; its name must end in .toml")
    from ngpd_fl.records import require_new, write_text

    require_new(out)

    from rich.console import Console

    from ngpd_fl.devices import class_toml
    from ngpd_fl.profiling.calibration import calibrate as measure
    from ngpd_fl.report.units import size

    with Console(stderr=True).status("timing local steps and the disk"):
        measured = measure(settings, out.parent)
    write_text(out, class_toml(out.stem, measured.device_class()))
    print_lines(
        f"{out.stem}: {settings.strategy.name}, {settings.model.name} on {settings.data.dataset}",
        [
            ("local step of SGD", f"{1000 * measured.sgd_seconds:.3g} ms"),
            (f"local step of {settings.strategy.name}", f"{1000 * measured.strategy_seconds:.3g} ms"),
            ("relative cost", f"{measured.relative_cost:.2f}"),
            ("one message", size(measured.message_bytes)),
            ("disk", f"{size(measured.write_bytes_s)} a second"),
        ],
        f"written to {out}; a run takes it by\n"
        f"  --set devices.table={out} \\\n"
        f"  --set devices.mix='{{\"{out.stem}\" = 1}}' \\\n"
        f"  --set devices.relative_cost={measured.relative_cost:.2f}\n"
        "add up_kbit_s, down_kbit_s and latency_s of its links, and compute_w and idle_w, where you know them",
    )
