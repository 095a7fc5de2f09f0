"""Files that are written whole or not at all, and a lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO

from safetensors.torch import save_file
from torch import Tensor

from ngpd_fl.config import InputError

_PARTIAL = ".partial-"

_OLD = re.compile(rf"\.tmp\w{{6}}|.+{re.escape(_PARTIAL)}\d+")
"""What killed writers of earlier versions left: safetensors' own temporary files, and ours."""


class StillGoing(InputError):
    """What a folder holds is being written by another process."""


@contextmanager
def written_whole(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a path to write a file or a folder to; in the end it takes the place of ``path``, or is removed.

    It lies in a folder of its own beside ``path``, and so do the temporary files that libraries make next to what they
    write. That folder is locked while its writer lives: what killed writers have left is removed by the next one.

    Args:
        path: a file, or a folder that is empty or not there.
        sync: whether all is on disk in the end, first the content, then the name.
    """
    remove_partial(path.parent)
    with _scratch(path) as folder:
        partial = folder / path.name
        yield partial
        if sync:
            for each in (partial, *partial.rglob("*")):
                _sync(each)
        partial.replace(path)
    if sync:
        _sync(path.parent)


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Make a folder beside ``path`` that is locked and, in the end, removed."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}{_PARTIAL}", dir=path.parent))
        with ExitStack() as stack:
            with suppress(FileNotFoundError):
                stack.enter_context(alone_in(folder))
            if not folder.exists():  # it was taken for a dead writer's before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Have a folder locked for a while, against every process and thread that locks it as well."""
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def remove_partial(folder: Path, *, is_ours: bool = False) -> None:
    """Remove what writers left unfinished that were killed; what is still being written stays.

    Args:
        folder: where they wrote.
        is_ours: whether nobody else can be writing there, so that what earlier versions left is known to be dead.
    """
    for path in folder.glob(f".*{_PARTIAL}*/"):
        with suppress(OSError):  # another one removes it, or the file system has no locks
            held = os.open(path, os.O_RDONLY)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path)
            finally:
                os.close(held)
    if is_ours and folder.is_dir():
        for path in folder.iterdir():
            if _OLD.fullmatch(path.name) and path.is_file():
                path.unlink()


def write_text(path: Path, text: str) -> None:
    """Write a text file."""
    with written_whole(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None, *, sync: bool = True
) -> None:
    """Write tensors by name, wherever they are and however they lie in memory, as a ``.safetensors`` file."""
    with written_whole(path, sync=sync) as partial:
        save_file(apart(tensors), partial, metadata)


def apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as ``safetensors`` takes them: contiguous, on the CPU, no two in the same memory."""
    found: dict[str, Tensor] = {}
    taken = set()
    for name, value in tensors.items():
        whole = value.detach().cpu().contiguous()
        where = whole.untyped_storage().data_ptr()
        found[name] = whole.clone() if where in taken else whole
        taken.add(where)
    return found


def lock(path: Path, kind: str = "run") -> IO[bytes]:
    """Return a file, opened and locked until it is closed or the process ends, however it does.

    Args:
        path: of the file, which is there.
        kind: what its folder holds, for the error.

    Raises:
        StillGoing: a process that still runs has it locked.
    """
    file = path.open("r+b")
    with suppress(OSError):  # some network file systems have no locks
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            file.close()
            raise StillGoing(
                f"{path.parent}: the {kind} is still going; it can be resumed once it was cut short"
            ) from error
    return file


def _sync(path: Path) -> None:
    """Return once a file, or the names in a folder, are on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
