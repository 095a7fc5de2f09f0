"""A nested state as named tensors and back, so that it can be stored without pickle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils._pytree import keystr, tree_flatten_with_path, tree_unflatten


def to_tensors(tree: Any) -> dict[str, Tensor]:
    """Return the leaves of nested tuples, lists and dictionaries by their path, e.g. ``"['blocks'][0].params"``."""
    leaves, _ = tree_flatten_with_path(tree)
    return {keystr(path): leaf for path, leaf in leaves}


def is_curvature(name: str) -> bool:
    """Return whether a leaf belongs to a node's curvature: large, and a node can estimate it again."""
    return ".curvature" in name


def from_tensors(like: Any, tensors: Mapping[str, Tensor]) -> Any:
    """Return ``like`` with its leaves replaced by those in ``tensors``: the inverse of ``to_tensors``.

    Raises:
        ValueError: a leaf is missing, spare, or has another shape or type than that of ``like``.
    """
    leaves, structure = tree_flatten_with_path(like)
    expected = {keystr(path): leaf for path, leaf in leaves}
    if expected.keys() != tensors.keys():
        odd = sorted(expected.keys() ^ tensors.keys())[0]
        raise ValueError(f"{odd} is {'missing' if odd in expected else 'not known'}")
    for name, leaf in expected.items():
        if leaf.shape != tensors[name].shape or leaf.dtype != tensors[name].dtype:
            raise ValueError(
                f"{name} has shape {tuple(tensors[name].shape)} and type {tensors[name].dtype}; "
                f"expected {tuple(leaf.shape)} and {leaf.dtype}"
            )
    return tree_unflatten([tensors[name].to(leaf.device) for name, leaf in expected.items()], structure)
