"""A pretended CUDA device: what is wrong on a GPU, and what a GPU waits for, seen on a machine without one.

Inside ``PretendDevice`` a tensor that is put on ``cuda`` says that it lies on ``cuda:0`` (or ``cuda:1``, ...) and holds
its numbers in an ordinary tensor, its ``host``. Every operation runs on the hosts, with the CPU's kernels, so results
are those of a CPU bit for bit wherever both take the same path. Three things are as on a GPU:

* **Devices do not mix.** An operation on tensors of two devices raises, as CUDA does. What CUDA allows is allowed: a
  number in a CPU tensor without dimensions in elementwise operations, CPU tensors as the index of ``tensor[index]``
  (never of ``index_select``, ``gather``, ...), and copies. NumPy cannot read a tensor that is not on the CPU.
* **Code that asks** ``tensor.device.type`` takes a GPU's branch, and ``torch.cuda.is_available()`` says yes.
* **Copies and waits are counted** (``Counts``): each makes the host wait for all work that it has queued.

How: a wrapper subclass with ``__torch_dispatch__``, and a ``TorchDispatchMode`` that sees how tensors come about.
Both stand below autograd and ``torch.func``, so that gradients, ``vmap`` and ``functional_call`` need nothing of
their own. To C++ the wrapper is a tensor on ``meta:0``: autograd asks nothing of that device, where it would start a
driver for ``cuda:0``. An index tells it from a real meta tensor, which has none and holds no numbers here either.
torch's modes are a thread's own: those of a pool that begin meanwhile have the device, too, any other thread enters
``PretendDevice.in_thread``.
"""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any, ClassVar, NamedTuple
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map

_ATEN = torch.ops.aten
_lock = threading.Lock()
_plain_submit = ThreadPoolExecutor.submit
_ROOT = Path(__file__).resolve().parents[2]
_INDEXED = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index", "_unsafe_index_put"}
_TAKING_NUMBERS = {"fill", "fill_", "masked_fill", "masked_fill_", "index_put", "index_put_", "where"}
"""Besides elementwise operations: what takes a number in a CPU tensor without dimensions."""
_WAITING = {
    "nonzero", "masked_select", "_unique", "_unique2", "unique_dim", "unique_consecutive", "bincount", "histc",
    "repeat_interleave", "equal", "_linalg_eigh", "_linalg_svd", "_linalg_solve_ex", "linalg_inv_ex", "linalg_eig",
    "linalg_cholesky_ex", "linalg_lstsq", "linalg_ldl_factor_ex", "linalg_lu_factor_ex",
}  # fmt: skip
"""Their results' shapes depend on values, or, of factorizations, CUDA looks whether they succeeded."""


class Counts(NamedTuple):
    """Counts of operations for which the host waits.

    Attributes:
        uploads: copies from the host to a device.
        downloads: copies from a device to the host, single numbers included: ``item``, ``tolist``, ``bool()``,
            ``.cpu()``.
        waits: other operations that wait: ``nonzero`` and boolean masks as index, ``unique``, ``repeat_interleave``
            with tensors, ``torch.cuda.synchronize``.
        factorizations: eigendecompositions and the like, which wait as well.
    """

    uploads: int
    downloads: int
    waits: int
    factorizations: int


class PretendTensor(Tensor):
    """A tensor on a pretended device; ``host`` holds its numbers."""

    host: Tensor
    is_cuda = True  # type: ignore[assignment]
    is_cpu = False  # type: ignore[assignment]
    is_meta = False  # type: ignore[assignment]
    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, host: Tensor, index: int) -> PretendTensor:
        """Wrap a host tensor, for the device of this index."""
        made: PretendTensor = torch.Tensor._make_wrapper_subclass(  # type: ignore[attr-defined]
            cls,
            host.size(),
            strides=host.stride(),
            storage_offset=host.storage_offset(),
            dtype=host.dtype,
            layout=host.layout,
            device=torch.device("meta", index),
        )
        made.host = host
        made.index = index  # type: ignore[method-assign, assignment]
        return made

    @property
    def device(self) -> torch.device:  # type: ignore[override]
        """``cuda`` with its index."""
        return torch.device("cuda", self.index)  # type: ignore[arg-type]

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})

    def __getitem__(self, index: Any) -> Any:
        return super().__getitem__(tree_map(_listed, index, is_leaf=lambda part: isinstance(part, list)))

    def __setitem__(self, index: Any, value: Any) -> None:
        super().__setitem__(tree_map(_listed, index, is_leaf=lambda part: isinstance(part, list)), value)

    def untyped_storage(self) -> Any:
        return self.host.untyped_storage()

    def data_ptr(self) -> int:
        return self.host.data_ptr()

    def new_tensor(self, data: Any, **settings: Any) -> Tensor:
        return torch.tensor(data, **{"dtype": self.dtype, "device": self.device, **settings})

    def tolist(self) -> Any:
        _note("downloads", "tolist")
        return self.host.tolist()

    def numpy(self, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def __repr__(self, *args: Any, **kwargs: Any) -> str:
        return f"PretendTensor({self.host}, device='{self.device}')"


def to_host(tensor: Tensor) -> Tensor:
    """Return the numbers of a tensor on any device as they are, without a copy and without counting one."""
    return tensor.host if isinstance(tensor, PretendTensor) else tensor


class PretendDevice:
    """Context in which ``cuda`` is there, on the CPU.

    Attributes:
        where: how often each copy or wait has happened, by ``(kind, operation, place in the project)``.
        moved: floating-point numbers that were copied from one pretended device to another.
    """

    _active: ClassVar[list[PretendDevice]] = []

    def __init__(self, devices: int = 1) -> None:
        """Pretend so many of them."""
        self.where: Counter[tuple[str, str, str]] = Counter()
        self.moved = 0
        self._devices = devices
        self._entered = ExitStack()

    @property
    def counts(self) -> Counts:
        """Counts since the last ``reset``."""
        sums: Counter[str] = Counter()
        for (kind, _, _), times in self.where.items():
            sums[kind] += times
        return Counts(**{kind: sums[kind] for kind in Counts._fields})

    def reset(self) -> None:
        """Count from 0."""
        self.where.clear()
        self.moved = 0

    def report(self) -> str:
        """Return a line for each copy and wait, with the place in the project's code that it comes from."""
        return "\n".join(f"{times:>6} {' '.join(key)}" for key, times in self.where.most_common())

    @staticmethod
    def in_thread() -> AbstractContextManager[Any]:
        """Return a context in which the device is there for another thread, too."""
        return _Mode()

    def __enter__(self) -> PretendDevice:
        """Let ``cuda`` be there."""
        replaced = {
            "_lazy_init": lambda: None,
            "is_available": lambda: True,
            "device_count": lambda: self._devices,
            "current_device": lambda: 0,
            "synchronize": lambda device=None: _note("waits", "synchronize"),
            "get_device_name": lambda device=None: "pretended device",
            "get_device_properties": lambda device=None: SimpleNamespace(name="pretended device", total_memory=1 << 37),
            "empty_cache": lambda: None,
            "max_memory_allocated": lambda device=None: 0,
            "reset_peak_memory_stats": lambda device=None: None,
        }
        self._entered.enter_context(patch.multiple(torch.cuda, **replaced))
        # as on a GPU, a parameter that is moved stays the same object, also where two modules hold it
        torch.__future__.set_swap_module_params_on_conversion(True)
        self._entered.callback(torch.__future__.set_swap_module_params_on_conversion, False)
        torch._C._ensureCUDADeviceGuardSet()  # type: ignore[attr-defined]  # to switch devices does nothing
        before = torch._C._only_lift_cpu_tensors()  # type: ignore[attr-defined]
        torch._C._set_only_lift_cpu_tensors(True)  # type: ignore[attr-defined]  # torch.tensor comes here, too
        self._entered.callback(torch._C._set_only_lift_cpu_tensors, before)  # type: ignore[attr-defined]
        self._entered.enter_context(patch.object(ThreadPoolExecutor, "submit", _submit))
        self._active.append(self)
        self._entered.callback(self._active.remove, self)
        self._entered.enter_context(_Mode())
        return self

    def __exit__(self, *error: object) -> None:
        """Let it be gone again."""
        self._entered.close()


class _Mode(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Run an operation on the hosts; put its results where CUDA would."""
    name = func._schema.name.removeprefix("aten::")
    tensors = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    pretended = [each for each in tensors if isinstance(each, PretendTensor)]
    asked = kwargs.get("device")
    target = _pretended_index(asked) if asked is not None else None
    if target is None and asked is None and pretended:
        target = pretended[0].index  # type: ignore[assignment]
    is_copy = func is _ATEN._to_copy.default or name == "copy_"
    if pretended:
        if not is_copy:
            _check_devices(func, name, args, tensors)
        _count(name, args, kwargs, target)
        if is_copy:
            _note_move(*(args[:2] if name == "copy_" else (target, args[0])))
    elif is_copy and target is not None:
        _note("uploads", name)
    results = func(*tree_map(_on_host, args), **tree_map(_on_host, kwargs))
    if func._schema.is_mutable and any(each.shape != each.host.shape for each in pretended):
        raise NotImplementedError(f"{name} changes a tensor's shape in place, which is not pretended")
    known = {id(each.host): each for each in pretended}

    def placed(result: Any) -> Any:
        if not isinstance(result, Tensor):
            return result
        if id(result) in known:  # changed in place, or written to as out=
            return known[id(result)]
        if target is None or any(result is each for each in tensors):
            return result
        return PretendTensor(result, target)

    return tree_map(placed, results)


def _check_devices(func: Any, name: str, args: Any, tensors: list[Tensor]) -> None:
    """Raise where CUDA would: tensors lie on several devices."""
    used = tensors
    if name in _INDEXED:
        indices = [each for each in args[1] if each is not None]
        if any(each.device.type != "cpu" and each.device != args[0].device for each in indices):
            raise RuntimeError(f"indices should be on cpu or on the device of the indexed tensor ({args[0].device})")
        used = [args[0], *(each for each in tree_leaves(args[2:]) if isinstance(each, Tensor))]
    if torch.Tag.pointwise in func.tags or name in _TAKING_NUMBERS:
        used = [each for each in used if isinstance(each, PretendTensor) or each.dim() > 0]
    found = sorted({str(each.device) for each in used})
    if len(found) > 1:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(found)}! "
            f"(when checking arguments of {name})"
        )


def _count(name: str, args: Any, kwargs: dict[str, Any], target: int | None) -> None:
    """Count what an operation on a pretended device makes the host wait for."""
    if name == "_local_scalar_dense" or (name == "_to_copy" and kwargs.get("device") is not None and target is None):
        _note("downloads", name)
    elif name == "copy_":
        to, source = (isinstance(each, PretendTensor) for each in args[:2])
        if to != source:
            _note("uploads" if to else "downloads", name)
    elif name in _INDEXED and isinstance(args[0], PretendTensor):
        fills = len(args) > 2 and args[2].numel() == 1 and not (len(args) > 3 and args[3])
        for index in args[1]:
            if isinstance(index, PretendTensor):
                if index.dtype in (torch.bool, torch.uint8) and not fills:
                    _note("waits", name)
            elif index is not None:
                _note("uploads", name)
    elif name in _WAITING and not (name == "repeat_interleave" and kwargs.get("output_size") is not None):
        _note("factorizations" if "linalg" in name else "waits", name)


def _submit(pool: ThreadPoolExecutor, function: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
    """Let a pool's thread call a function where the device is there."""

    def on_device() -> Any:
        with PretendDevice.in_thread():
            return function(*args, **kwargs)

    return _plain_submit(pool, on_device)


def _note(kind: str, operation: str) -> None:
    with _lock:
        for device in PretendDevice._active:
            device.where[kind, operation, _place()] += 1


def _note_move(target: Tensor | int | None, source: Tensor | float) -> None:
    """Count what moves from one pretended device to another."""
    index = target.index if isinstance(target, PretendTensor) else target
    if isinstance(source, PretendTensor) and isinstance(index, int) and source.is_floating_point():
        with _lock:
            for device in PretendDevice._active:
                device.moved += source.numel() * (source.index != index)


def _place() -> str:
    """Return the innermost line of the project's own code that is running."""
    frame: FrameType | None = sys._getframe()
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if any(path.is_relative_to(_ROOT / package) for package in ("ngpd_fl", "strategies", "topologies")):
            return f"{path.relative_to(_ROOT)}:{frame.f_lineno}"
        frame = frame.f_back
    return "elsewhere"


def _pretended_index(device: Any) -> int | None:
    """Return the index of a pretended device, None of any other."""
    device = torch.device(device)
    if device.type == "cuda":
        return device.index or 0
    return device.index if device.type == "meta" else None  # what C++ takes the pretended one for; see above


def _on_host(value: Any) -> Any:
    if isinstance(value, PretendTensor):
        return value.host
    return torch.device("cpu") if isinstance(value, torch.device) and _pretended_index(value) is not None else value


def _listed(index: Any) -> Any:
    """Return a list of numbers as the index tensor that torch makes of it on the host."""
    return torch.tensor(index) if isinstance(index, list) else index
