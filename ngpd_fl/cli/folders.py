"""Names for pictures that commands draw."""

from __future__ import annotations

from itertools import count
from pathlib import Path


def picture_path(out: Path | None, name: str) -> Path:
    """Return where a picture goes; raise ``InputError`` where ``out`` is taken or no kind of picture.

    Args:
        out: the file. Defaults to the first free one of ``runs/NAME-1.png``, ``-2``, ...
        name: see ``out``.
    """
    from ngpd_fl.config import InputError
    from ngpd_fl.records.new_folder import RUNS, plain
    from ngpd_fl.report.style import FORMATS

    if out is None:
        return next(path for number in count(1) if not (path := RUNS / f"{plain(name)}-{number}.png").exists())
    if out.suffix not in FORMATS:
        raise InputError(f"out: {out} is no picture; its name may end in {', '.join(FORMATS)}")
    if out.exists():
        raise InputError(f"out: {out} is there already; nothing is overwritten, name another file")
    return out
