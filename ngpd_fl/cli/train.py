"""A training run of a command: progress, pictures, and one line about a failure."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ngpd_fl.cli.errors import FAILED, INTERRUPTED, Ended
from ngpd_fl.cli.pictures import draw
from ngpd_fl.core.signals import finishing

if TYPE_CHECKING:
    from ngpd_fl.config import Config
    from ngpd_fl.records import Progress
    from ngpd_fl.training.run import Result


Runner = Callable[["Config", Path, Callable[["Progress"], None]], "Result"]


def train(
    config: Config,
    folder: Path,
    quiet: bool,
    runner: Runner | None = None,
    track: Sequence[str] = (),
    **recording: Any,
) -> None:
    """Run ``config``, record it in ``folder`` and draw its pictures.

    Args:
        config: the whole run.
        folder: the folder for its records.
        quiet: whether no progress is shown.
        runner: runs it from the configuration, the folder and a function that is called with the progress. Defaults
            to ``ngpd_fl.run``.
        track: names of the trackers that ``ngpd_fl.run`` reports to.
        recording: arguments of ``ngpd_fl.run`` about further records.

    Raises:
        InputError: it cannot be run, and nothing was recorded.
        Ended: it diverged, failed or was interrupted; what was recorded is kept.
    """
    from ngpd_fl.config import InputError
    from ngpd_fl.config.errors import cause
    from ngpd_fl.report.progress import reporting
    from ngpd_fl.report.units import short_percent
    from ngpd_fl.training.callbacks import ProgressReport
    from ngpd_fl.training.run import run
    from ngpd_fl.training.trackers import make_tracker

    name, done = config.method, 0
    try:
        with reporting(name, quiet) as report:

            def on_progress(progress: Progress) -> None:
                nonlocal done
                done = progress.round
                report(progress)

            if runner is None:
                trackers = [make_tracker(name) for name in track]
                result = run(config, folder, [*trackers, ProgressReport(on_progress)], **recording)
            else:
                result = runner(config, folder, on_progress)
    except InputError:
        raise
    except KeyboardInterrupt as error:
        words = f"{name} interrupted after round {done} of {config.training.rounds}"
        hint = ", `ngpd-fl resume DIR` goes on" * (folder / "checkpoints").is_dir()
        raise Ended(words + _kept(folder, hint + ", `ngpd-fl show DIR --plots` draws them"), INTERRUPTED) from error
    except Exception as error:
        place = f"in round {done + 1}" if done < config.training.rounds else "after its last round"
        raise Ended(f"{name} failed {place}: {cause(error)}{_kept(folder)}", FAILED) from error
    if not quiet and (target := result.summary["target"]):
        end = f"reached in round {target['round']}" if target["reached"] else f"not reached in {done} rounds"
        print(f"{name}  mean {short_percent(target['mean_accuracy'])} {end}", file=sys.stderr)
    with finishing():
        draw(folder, quiet, trust_code=True)  # it has just run
    if result.summary["diverged"]:
        loss = result.metrics[-1].train_loss
        words = "it is not finite" if loss is None else f"{loss:.3g}"
        raise Ended(f"{name} diverged in round {done} (training loss: {words}){_kept(folder)}", FAILED)


def _kept(folder: Path, hint: str = "") -> str:
    if not (folder.is_dir() and any(folder.iterdir())):
        return "; nothing was recorded"
    return f"; records are kept in {folder}{hint.replace('DIR', str(folder))}"
