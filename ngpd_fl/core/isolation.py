"""Isolation of a run from the global settings and generators of its process, and of these from the run.

However many runs go on in threads, each is what it would be alone, and the settings and random numbers of the
caller stay unchanged.
"""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import numpy as np
import torch

_lock = threading.RLock()
"""Lock of the resources that all threads share."""

_PRODUCTS = (torch.backends.cuda.matmul, torch.backends.mkldnn.matmul)  # type: ignore[attr-defined]
"""Settings of torch that let products of float32 matrices be computed in TF32 or bfloat16."""

_runs = 0
_threads_before = 0
_products_before = [""] * len(_PRODUCTS)
_own = threading.local()


@contextmanager
def own_settings(threads: int) -> Iterator[None]:
    """Apply a run's torch settings in this thread for a while, whatever the caller has set.

    So many CPU threads, gradients where they are asked for, no automatic precision, products of float32 matrices in
    float32, tensors on the CPU by default. Torch keeps the number of CPU threads for each thread that has ever asked
    for it, and a default for those to come, which is what it was again when the last run is over, as is the precision
    of products, which all threads share.
    """
    global _runs, _threads_before, _products_before
    outer = getattr(_own, "threads", None)
    with _lock:
        default = torch.get_num_threads()
        if _runs == 0:
            _threads_before = default
            _products_before = [products.fp32_precision for products in _PRODUCTS]
            for products in _PRODUCTS:
                products.fp32_precision = "ieee"
        _runs += 1
        torch.set_num_threads(threads)
    _own.threads = threads
    try:
        with ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            if torch.get_default_device().type != "cpu":
                stack.enter_context(torch.device("cpu"))
            yield
    finally:
        _own.threads = outer
        with _lock:
            _runs -= 1
            torch.set_num_threads(outer or _threads_before)
            if _runs == 0:
                for products, before in zip(_PRODUCTS, _products_before, strict=True):
                    products.fp32_precision = before


@contextmanager
def own_randomness(seed: int) -> Iterator[None]:
    """Reserve the generators that torch, NumPy and Python have once in a process.

    They start from the seed, and are in the end where they were before. What is called here draws the same, whatever
    was drawn before it; new parameters are float32. This is for what a user wrote and for torch's own start of
    parameters: all else draws by key.

    Args:
        seed: 63 bits, of which NumPy takes 32.
    """
    with _lock, torch.random.fork_rng(devices=[]):
        python, legacy, dtype = random.getstate(), np.random.get_state(), torch.get_default_dtype()
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)
            torch.default_generator.manual_seed(seed)  # torch.manual_seed: CUDA's as well
            torch.set_default_dtype(torch.float32)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(legacy)
            torch.set_default_dtype(dtype)


@contextmanager
def no_warnings() -> Iterator[None]:
    """Suppress warnings for a while; no other run changes the warning filters meanwhile."""
    with _lock, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
