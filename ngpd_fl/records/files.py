"""Files that are written completely or not at all, tensors in them, and a lock that ends with its process."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from ngpd_fl.config import InputError
from ngpd_fl.config.text_files import require_file

if TYPE_CHECKING:
    from torch import Tensor

_PARTIAL = ".partial-"

_LOOKS = (0.001, 0.01, 0.05)
"""Seconds between attempts to lock a file that a look may hold."""

_OLD = re.compile(rf"\.tmp\w{{6}}|.+{re.escape(_PARTIAL)}\d+")
"""Names of files that killed writers of earlier versions left: temporary files of safetensors, and of this project."""


class StillRunning(InputError):
    """Another process is writing the content of a folder."""


def require_new(path: Path, key: str = "out", kind: str = "file") -> None:
    """Raise ``InputError`` if the file or folder is there already, or the folder to make it in is not."""
    if path.exists() or path.is_symlink():
        raise InputError(f"{key}: {path} is there already; nothing is overwritten, name another {kind}")
    require_folder_of(path, key, kind)


def require_folder_of(path: Path, key: str = "out", kind: str = "file") -> None:
    """Raise ``InputError`` if the folder does not exist in which something is to be made."""
    if not path.parent.is_dir():
        what = f"{path.parent} is not a folder" if path.parent.exists() else f"there is no folder {path.parent}"
        raise InputError(f"{key}: {what}; make it first, or name another {kind}")


@contextmanager
def atomic_write(path: Path, *, sync: bool = True) -> Iterator[Path]:
    """Yield a path to write a file or a folder to. In the end it replaces ``path``; after an error it is removed.

    The yielded path lies in a temporary folder beside ``path``, together with the temporary files that libraries make
    next to their output. That folder is locked while its writer runs. The next writer removes the folders of killed
    writers.

    Args:
        path: a file, or a folder that is empty or does not exist.
        sync: whether everything is on disk in the end, first the content, then the name.
    """
    remove_partial(path.parent)
    with _scratch(path) as folder:
        partial = folder / path.name
        yield partial
        if sync:
            for content in (partial, *partial.rglob("*")):
                _sync(content)
        partial.replace(path)
    if sync:
        _sync(path.parent)


@contextmanager
def _scratch(path: Path) -> Iterator[Path]:
    """Yield a new, locked folder beside ``path``, and remove it in the end."""
    while True:
        folder = Path(tempfile.mkdtemp(prefix=f".{path.name[:100]}{_PARTIAL}", dir=path.parent))
        with ExitStack() as stack:
            with suppress(FileNotFoundError):
                stack.enter_context(alone_in(folder))
            if not folder.exists():  # another writer removed it before it was locked
                continue
            try:
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)
            return


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a lock on a folder, against every process and thread that also locks it."""
    held = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(held, fcntl.LOCK_EX)
        yield
    finally:
        os.close(held)


def remove_partial(folder: Path, *, is_ours: bool = False) -> None:
    """Remove the unfinished files of killed writers; files that are still being written stay.

    Args:
        folder: the folder that they wrote to.
        is_ours: whether no other process can be writing there, so that unfinished files of earlier versions are
            removed too.
    """
    for path in folder.glob(f".*{_PARTIAL}*/"):
        with suppress(OSError):  # another process removes it, or the file system has no locks
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
    """Write a text file. Bytes of a path that are not UTF-8 are written as escapes."""
    with atomic_write(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="backslashreplace")


def write_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None, *, sync: bool = True
) -> None:
    """Write tensors by name as a ``.safetensors`` file, on any device and in any memory layout."""
    with atomic_write(path, sync=sync) as partial:
        save_tensors(tensors, partial, metadata)


def save_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: dict[str, str] | None = None) -> None:
    """Write a ``.safetensors`` file in place, with the permissions of other files: the library's are its owner's only.

    Raises:
        FileExistsError: there is such a file.
    """
    from safetensors.torch import save_file  # it loads torch, which reading a run's figures does not need

    path.touch(exist_ok=False)
    permissions = path.stat().st_mode  # as the umask has it
    save_file(_apart(tensors), path, metadata)
    path.chmod(permissions)


def _apart(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors as ``safetensors`` accepts them: contiguous, on the CPU, no two in the same memory."""
    separate: dict[str, Tensor] = {}
    taken = set()
    for name, value in tensors.items():
        whole = value.detach().cpu().contiguous()
        where = whole.untyped_storage().data_ptr()
        separate[name] = whole.clone() if where in taken else whole
        taken.add(where)
    return separate


def lock(path: Path, kind: str = "run") -> IO[bytes]:
    """Return a file, opened and locked until it is closed or the process ends in any way.

    Args:
        path: path of the file, which exists.
        kind: name of the content of its folder, for the error.

    Raises:
        StillRunning: a running process has it locked.
        InputError: it is a link.
    """
    refuse_link(path)
    file = path.open("r+b")
    with suppress(OSError):  # some network file systems have no locks
        try:
            _lock_soon(file)
        except BlockingIOError as error:
            file.close()
            raise StillRunning(
                f"{path.parent}: the {kind} is still going; it can be resumed once it was cut short"
            ) from error
    return file


def _lock_soon(file: IO[bytes]) -> None:
    """Lock a file; raise ``BlockingIOError`` if another process holds it longer than for a look (``is_locked``)."""
    for pause in _LOOKS:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            time.sleep(pause)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(path: Path) -> bool:
    """Return whether a process has locked a file, or may have: some file systems have no locks."""
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False


def refuse_link(path: Path) -> None:
    """Raise ``InputError`` if a file or folder to be changed is a link, which may lead out of a stranger's folder."""
    if path.is_symlink():
        kind = "folder" if path.is_dir() else "file"
        raise InputError(f"{path}: is a link to another {kind}, which would be changed; put the {kind} itself there")


def _sync(path: Path) -> None:
    """Write a file, or the names in a folder, to disk; return when that is done."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class Saved(NamedTuple):
    """Content of a file.

    Attributes:
        tensors: by name, on the CPU.
        metadata: texts by name.
    """

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read_tensors(path: Path) -> Saved:
    """Return a file's tensors. No code runs, and memory use is bounded by the size of the file.

    Raises:
        InputError: the file cannot be read; one line names it.
    """
    from safetensors import safe_open

    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # not a dict
            return Saved(tensors, file.metadata() or {})
    except Exception as error:  # a damaged header can fail anywhere in the library, and in torch
        raise InputError(f"{path}: cannot be read as a .safetensors file ({error})") from error
