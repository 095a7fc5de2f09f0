"""``label_counts.json``: each node's number of training examples per class."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ngpd_fl.config import InputError, read_json
from ngpd_fl.records.files import write_text


def write_label_counts(path: Path, counts: NDArray[np.int64]) -> None:
    """Write counts ``[N, C]``: a line per node."""
    rows = ",\n".join(json.dumps(row) for row in counts.tolist())
    write_text(path, f"[\n{rows}\n]\n")


def read_label_counts(path: Path, nodes: Collection[int]) -> NDArray[np.int64]:
    """Return the counts ``[N, C]``; raise ``InputError`` if the file is damaged, or N is none of ``nodes``."""
    try:
        counts = np.array(read_json(path))
    except InputError:
        raise
    except ValueError as error:  # rows of different lengths
        raise InputError(f"{path}: damaged (not a table of counts)") from error
    if counts.ndim != 2 or counts.dtype != np.int64 or counts.min(initial=0) < 0:
        raise InputError(f"{path}: damaged (not a table of counts)")
    if len(counts) not in nodes:
        raise InputError(f"{path}: damaged ({len(counts)} rows for {max(nodes)} nodes)")
    if counts.sum(dtype=np.float64) >= 2**63:
        raise InputError(f"{path}: damaged (more examples than can be counted)")
    return counts
