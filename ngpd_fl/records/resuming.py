"""Choice of the checkpoint from which a run resumes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ngpd_fl.records.checkpoints import Checkpoint
from ngpd_fl.records.environment import differences
from ngpd_fl.records.folder import RunFolder


def last_checkpoint(
    folder: RunFolder, environment: Mapping[str, Any], on_event: Callable[[str], None]
) -> Checkpoint | None:
    """Return the last checkpoint that is intact; None if the run begins again.

    Args:
        folder: the run's folder.
        environment: the present environment.
        on_event: called with a line for each damaged checkpoint, if there is no checkpoint, and if the environment has
            changed.
    """
    if changes := differences(folder.environment(), environment):
        on_event(f"{folder.path}: not as when the run began, results may differ: {', '.join(changes)}")
    checkpoint, refusals = None, list[str]()
    for candidate in folder.checkpoints.candidates():
        if isinstance(candidate, Checkpoint):
            checkpoint = candidate
            break
        refusals.append(str(candidate))
    then = f"goes on after round {checkpoint.round}" if checkpoint else "begins again"
    for refusal in refusals or [f"{folder.path}: there is no checkpoint"] * (checkpoint is None):
        on_event(f"{refusal}; the run {then}")
    return checkpoint
