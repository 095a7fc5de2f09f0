"""Preconditioned mixing: a mean of models in which each counts by its own curvature.

Ishii, Niwa, Sawada, Fujino, Harada, Yokota, "FedPM: Federated learning using second-order optimization with
preconditioned mixing of local parameters", AAAI 2026 (arXiv:2511.09100):

    w = (sum_i s_i P_i)^-1 sum_i s_i P_i w_i                                                                     (1)

with shares s_i, 1 in sum, and P_i the preconditioner of node i's last step. After one step from a common w, w_i = w -
mu P_i^-1 g_i, it is w - mu (sum_i s_i P_i)^-1 sum_i s_i g_i: a step on the mean of all losses, which the plain mean of
the w_i is not.

What makes (1) tractable is FOOF (``fisher = "foof"``): P_i = (A_i + delta I) (x) I with a layer's input factor A_i. The
mean of such P_i has the same form, and for weights ``V [d_out, d_in]``

    V = sum_i s_i V_i (A_i + delta I) (sum_i s_i A_i + delta I)^-1                                               (2)

a solve as wide as the factor. Here (2) is computed for the distances from the plain mean, so that what the nodes agree
on is not rounded. Shares are those of FedAvg; the paper has 1 / N. The text of the paper was not at hand: (1), FOOF and
the P_i of the last of several local steps are as summaries of it say; delta, and a running A_i, are K-FAC's here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ngpd_fl.curvature.blocks import Diagonal, FisherBlock, Kronecker, TokenKronecker
from ngpd_fl.curvature.kfac import KFAC, KFACState


class _Part(NamedTuple):
    """One layer of a stack of nodes: its block, ``V [n, ..., d_out, d_in]``, and the nodes' shares ``[n]``."""

    block: FisherBlock
    matrix: Tensor
    shares: Tensor


def preconditioned_mean(kfac: KFAC, states: Sequence[KFACState], params: Tensor, shares: Tensor) -> Tensor:
    """Return (1) of N nodes, ``[P]``; each P_i is that of the node's last solve.

    Args:
        kfac: the curvature, with ``fisher = "foof"``.
        states: the nodes' curvature, in stacks, each on a device.
        params: their parameters ``[N, P]``, in the order of the stacks.
        shares: s ``[N]``.
    """
    mean = (shares[None] @ params)[0]
    change = torch.zeros_like(mean)
    sizes = [len(state.updates) for state in states]
    stacks = [
        (state.blocks, apart.to(state.updates.device), share.to(state.updates.device))
        for state, apart, share in zip(
            states, torch.split(params - mean, sizes), torch.split(shares, sizes), strict=True
        )
    ]
    for name, layer in kfac.capture.layers.items():
        if issubclass(layer.rule.block, Diagonal):
            continue  # its P is the same at all nodes
        parts = [
            _Part(blocks[name], _matrix(blocks[name], layer.rule.views(layer, apart)), share)
            for blocks, apart, share in stacks
        ]
        mixed = _mix_tokens if issubclass(layer.rule.block, TokenKronecker) else _mix_kronecker
        moved = mixed(parts, kfac.options.delta).to(mean.device)
        pieces = layer.rule.views(layer, change[None])
        widths = [piece.numel() * moved.shape[-1] // moved.numel() for piece in pieces]
        for piece, columns in zip(pieces, torch.split(moved, widths, dim=-1), strict=True):
            piece.copy_(columns.reshape(piece.shape))
    return mean + change


def preconditioner_bytes(kfac: KFAC, params: Tensor) -> int:
    """Return the bytes of a node's P, with its parameters ``params [P]``: the spectra of its input factors."""
    blocks = kfac.init(params).blocks.values()
    return sum(array.nbytes for block in blocks for array in _input_arrays(block))


def _input_arrays(block: FisherBlock) -> Iterable[Tensor]:
    if isinstance(block, Kronecker):
        return block.inputs
    return () if isinstance(block, Diagonal) else (block.values,)


def _matrix(block: FisherBlock, pieces: Sequence[Tensor]) -> Tensor:
    """Return V ``[n, d_out, d_in]``, or ``[n, G, d_out, d_in]`` of a layer with groups, of its pieces by columns."""
    assert not isinstance(block, Diagonal)
    rows = block.outputs.basis.shape[:-1]
    return torch.cat([piece.reshape(*rows, -1) for piece in pieces], dim=-1)


def _mix_kronecker(parts: Iterable[_Part], damping: float) -> Tensor:
    """Return (2), ``[..., d_out, d_in]``, in float64: in float32 a small delta would vanish in rounding."""
    weighted, total = [], []
    for block, matrix, shares in parts:
        assert isinstance(block, Kronecker)
        basis, values, rest = (array.double() for array in block.inputs)
        here = torch.eye(basis.shape[-2], dtype=basis.dtype, device=basis.device)
        factor = (basis * (values - rest[..., None])[..., None, :]) @ basis.mT + rest[..., None, None] * here
        own = shares.view(-1, *[1] * (basis.dim() - 1)) * (factor + damping * here)
        weighted.append((matrix.double() @ own).sum(0))
        total.append(own.sum(0))
    # cholesky_ex: where a node diverged the result is nan, not an exception
    root, _ = torch.linalg.cholesky_ex(_total(total))
    return torch.cholesky_solve(_total(weighted).mT, root).mT


def _mix_tokens(parts: Iterable[_Part], damping: float) -> Tensor:
    """Return (2) of tables, whose A is diagonal, ``[d, V]``."""
    weighted, total = [], []
    for block, matrix, shares in parts:
        assert isinstance(block, TokenKronecker)
        own = shares[:, None] * (block.values + damping)
        weighted.append((own[:, None] * matrix).sum(0))
        total.append(own.sum(0))
    return _total(weighted) / _total(total)


def _total(parts: Sequence[Tensor]) -> Tensor:
    """Return the sum of tensors, on the device of the first."""
    return torch.stack([part.to(parts[0].device) for part in parts]).sum(0)
