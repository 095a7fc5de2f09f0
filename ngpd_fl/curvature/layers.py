"""The layers of a network: which rule handles which of its parameters."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from torch import nn

from ngpd_fl.curvature.layer import Layer, Rule
from ngpd_fl.curvature.other import Other
from ngpd_fl.curvature.rules import RULES, rule_of
from ngpd_fl.models.functional import FlatModel

OTHER: Rule = Other()


class NamedModule(NamedTuple):
    """A module with parameters of its own.

    Attributes:
        name: of the module.
        module: the module.
        parameters: what the module calls a parameter, such as "weight" -> the parameter's name in the flat model.
    """

    name: str
    module: nn.Module
    parameters: dict[str, str]


def find_layers(model: FlatModel, refused: Collection[str] = ()) -> dict[str, Layer]:
    """Return the layers by name; together they hold every trained parameter once.

    Parameters that no rule covers, and those of the modules in ``refused``, are layers of their own, with the rule
    ``OTHER``, named like the parameter.
    """
    modules = _named_modules(model)
    users: dict[str, list[NamedModule]] = {}
    for named in modules:
        for parameter in named.parameters.values():
            users.setdefault(parameter, []).append(named)
    rules = {parameter: _rule(parameter, users_of, refused) for parameter, users_of in users.items()}
    layers: dict[str, Layer] = {}
    for named in modules:
        trained = {key: name for key, name in named.parameters.items() if name in model.segments}
        together = len({tuple(user.name for user in users[name]) for name in trained.values()}) == 1
        groups = [trained] if together else [{key: name} for key, name in trained.items()]
        for group in groups:
            first = next(iter(group.values()))
            if users[first][0] is not named:
                continue  # of a layer that is there already
            rule = rules[first]
            if rule is None or any(rules[name] is not rule for name in group.values()):
                for name in group.values():
                    layers[name] = Layer(name, {}, OTHER, model.segments[name], None)
                continue
            weight, bias = (model.segments[group[key]] if key in group else None for key in ("weight", "bias"))
            name = named.name if weight is not None else group["bias"]
            layers[name] = Layer(name, {user.name: user.module for user in users[first]}, rule, weight, bias)
    return layers


def reason(module: nn.Module) -> str:
    """Return why no rule covers the parameters of a module, in words that follow its name."""
    if rule_of([module]) is None:
        kinds = ", ".join(kind.__name__ for kind in RULES)
        return f"belongs to a {type(module).__name__}, which K-FAC has no rule for; rules are for: {kinds}"
    return f"belongs to a {type(module).__name__} with parameters besides a weight and a bias, or shares one"


def _named_modules(model: FlatModel) -> list[NamedModule]:
    """Return every module with parameters of its own, each once."""
    names = {id(parameter): name for name, parameter in model.module.named_parameters()}
    return [
        NamedModule(name, module, {key: names[id(value)] for key, value in own.items()})
        for name, module in model.module.named_modules()
        if (own := dict(module.named_parameters(recurse=False, remove_duplicate=False)))
    ]


def _rule(parameter: str, users: list[NamedModule], refused: Collection[str]) -> Rule | None:
    """Return the rule of a parameter with these users; None where there is none."""
    if len({key for user in users for key, name in user.parameters.items() if name == parameter}) > 1:
        return None  # a weight here, a bias there
    for user in users:
        if user.name in refused or not set(user.parameters) <= {"weight", "bias"}:
            return None
        if "weight" not in user.parameters or "weight" not in user.module._parameters:
            return None
    return rule_of([user.module for user in users])
