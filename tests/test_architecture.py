"""Floors of the architecture: no import upward, none between packages of one floor, and no cycle.

See docs/explanation/architecture.md.
"""

from __future__ import annotations

import ast
from pathlib import Path

import networkx as nx
import pytest

from strategies import STRATEGIES

ROOT = Path(__file__).parent.parent
OURS = ("topologies", "strategies", "ngpd_fl")

# The floors of ngpd_fl from the ground up; a package imports those below its own floor, and none beside it.
FLOORS = [
    {"core"},
    {"config"},
    {"clock"},
    {"records"},
    {"data", "devices", "faults"},
    {"models"},
    {"curvature"},
    {"evaluation"},
    {"engines"},
    {"training"},
    {"report", "profiling", "peer"},
    {"sweep", "watch"},
    {"study", "flower"},
    {"deploy"},
    {"cli"},
    {"__main__"},
]
USERS = ROOT / "ngpd_fl" / "cli" / "project"
"""Files that ``ngpd-fl new`` copies: a user's code, which stands above all floors."""

FLOOR_OF = {part: height for height, parts in enumerate(FLOORS) for part in parts}


def modules() -> dict[str, Path]:
    """Return the paths of our modules by their dotted names."""
    paths = {}
    for package in OURS:
        for path in sorted((ROOT / package).rglob("*.py")):
            if path.parent == USERS:
                continue
            parts = path.relative_to(ROOT).with_suffix("").parts
            paths[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return paths


MODULES = modules()


def imports(module: str) -> set[str]:
    """Return our modules that ``module`` imports at run time, also inside functions."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    typing_only = {
        node
        for guard in ast.walk(tree)
        if isinstance(guard, ast.If) and "TYPE_CHECKING" in ast.unparse(guard.test)
        for node in ast.walk(guard)
    }
    names = set()
    for node in ast.walk(tree):
        if node in typing_only:
            continue
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: relative import"
            base = node.module or ""
            names.update(f"{base}.{a.name}" if f"{base}.{a.name}" in MODULES else base for a in node.names)
    return {name for name in names if name.split(".")[0] in OURS}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_imports_run_downward(module: str) -> None:
    package, *rest = module.split(".")
    for name in imports(module):
        target, *target_rest = name.split(".")
        if package != "ngpd_fl":
            assert target == package, f"{module} imports {name}: topologies and strategies import nothing of ours"
        elif target == "ngpd_fl" and rest and target_rest:
            below = FLOOR_OF[target_rest[0]] < FLOOR_OF[rest[0]]
            assert below or target_rest[0] == rest[0], f"{module} imports {name}: not below it"
        elif target == "ngpd_fl" and rest:
            raise AssertionError(f"{module} imports the whole of ngpd_fl")


def test_every_part_has_a_floor() -> None:
    parts = {module.split(".")[1] for module in MODULES if module.startswith("ngpd_fl.")}
    assert parts <= set(FLOOR_OF)


def test_no_cycles() -> None:
    graph = nx.DiGraph((module, name) for module in MODULES for name in imports(module) if name != module)
    assert nx.is_directed_acyclic_graph(graph), nx.find_cycle(graph)


def test_only_composition_makes_algorithms() -> None:
    """Engines import the contract of strategies, no algorithm."""
    makers = {m for m in MODULES if m.startswith("ngpd_fl") and "make_strategy" in MODULES[m].read_text("utf-8")}
    assert makers == {"ngpd_fl.training.job"}
    concrete = {"registry", *(options.__module__.split(".")[1] for options, _ in STRATEGIES.values())}
    engines = [name for m in MODULES if m.startswith("ngpd_fl.engines") for name in imports(m)]
    assert not [name for name in engines if name.startswith("strategies.") and name.split(".")[1] in concrete]


def test_text_files_are_read_in_one_place() -> None:
    """Files from elsewhere are parsed by the bounded readers of ``config.text_files`` and ``records.files`` only."""
    parsers = ("tomllib.load", "json.load", "load_file(", "safe_open(", "torch.load(", "validate_json(")
    uses = {name: [call for call in parsers if call in MODULES[name].read_text("utf-8")] for name in MODULES}
    allowed = {
        "ngpd_fl.config.text_files": ["tomllib.load", "json.load"],
        "ngpd_fl.records.files": ["safe_open("],
        # Text that this process has written itself, or another of ours through a private socket or folder.
        **dict.fromkeys(("ngpd_fl.report.page.groups", "ngpd_fl.report.page.tables"), ["json.load"]),
        **dict.fromkeys(
            ("ngpd_fl.study.tables", "ngpd_fl.deploy.warm_start", "ngpd_fl.flower.launcher.superlink_client"),
            ["json.load"],
        ),
        "ngpd_fl.flower.client.peer_process": ["json.load"],
    }
    assert {name: calls for name, calls in uses.items() if calls} == allowed
