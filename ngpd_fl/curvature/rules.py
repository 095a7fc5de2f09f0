"""The table of layers that K-FAC handles: the rule of each kind."""

from __future__ import annotations

from typing import Any

from torch import nn

from ngpd_fl.curvature.convolution import Convolution, TransposedConvolution
from ngpd_fl.curvature.elementwise import GroupNorm, InstanceNorm, LayerNorm, PReLU, RMSNorm
from ngpd_fl.curvature.embedding import Embedding, TiedEmbedding
from ngpd_fl.curvature.layer import Rule
from ngpd_fl.curvature.weight_matrix import Linear

_CONVOLUTION, _TRANSPOSED, _INSTANCE_NORM = Convolution(), TransposedConvolution(), InstanceNorm()

RULES: dict[type[nn.Module], Rule] = {
    nn.Linear: Linear(),
    nn.Conv1d: _CONVOLUTION,
    nn.Conv2d: _CONVOLUTION,
    nn.Conv3d: _CONVOLUTION,
    nn.ConvTranspose1d: _TRANSPOSED,
    nn.ConvTranspose2d: _TRANSPOSED,
    nn.ConvTranspose3d: _TRANSPOSED,
    nn.Embedding: Embedding(),
    nn.GroupNorm: GroupNorm(),
    nn.LayerNorm: LayerNorm(),
    nn.RMSNorm: RMSNorm(),
    nn.InstanceNorm1d: _INSTANCE_NORM,
    nn.InstanceNorm2d: _INSTANCE_NORM,
    nn.InstanceNorm3d: _INSTANCE_NORM,
    nn.PReLU: PReLU(),
}
"""Each kind of module with parameters ``weight`` and ``bias``, and its rule; it also is that of its subclasses."""

_TIED_EMBEDDING = TiedEmbedding()


def rule_of(modules: list[nn.Module]) -> Rule | None:
    """Return the rule of modules with one weight; None where there is none."""
    rules = {id(rule): rule for rule in map(_rule_of_kind, modules)}
    if len(rules) == 1:
        return next(iter(rules.values()))
    tied = {id(RULES[nn.Embedding]), id(RULES[nn.Linear])}
    return _TIED_EMBEDDING if set(rules) == tied else None


def _rule_of_kind(module: Any) -> Rule | None:
    """Return the rule of one module's kind."""
    if isinstance(module, nn.Embedding) and (module.max_norm is not None or module.scale_grad_by_freq or module.sparse):
        return None  # the table is changed in place, or an example's gradient depends on the others
    return next((RULES[kind] for kind in type(module).__mro__ if kind in RULES), None)
