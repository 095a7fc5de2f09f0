"""The public names of ``topologies``."""

from topologies.directed import (
    DirectedEdgesOptions,
    DirectedExponentialOptions,
    DirectedOnePeerExponentialOptions,
    DirectedOptions,
    DirectedRingOptions,
)
from topologies.families import (
    BarbellOptions,
    CirculantOptions,
    CompleteOptions,
    ExponentialOptions,
    HypercubeOptions,
    PathOptions,
    RingOptions,
    StarOptions,
    TorusOptions,
    TreeOptions,
)
from topologies.files import FileOptions
from topologies.given import EdgesOptions, SequenceOptions
from topologies.measures import consensus_rate, diameter, spectral_gap
from topologies.options import TopologyOptions
from topologies.periodic import (
    BaseGraphOptions,
    HyperHypercubeOptions,
    OnePeerExponentialOptions,
    PeriodicOptions,
    SimpleBaseGraphOptions,
)
from topologies.random_families import (
    BarabasiAlbertOptions,
    ErdosRenyiOptions,
    RandomRegularOptions,
    RandomTreeOptions,
    WattsStrogatzOptions,
)
from topologies.registry import TOPOLOGIES, parse_topology
from topologies.schedules import FailingSchedule, MatchingSchedule, Schedule, StaticSchedule
from topologies.topology import Topology
from topologies.weights import DOUBLY_STOCHASTIC, WEIGHTS, Weights

__all__ = [
    "DOUBLY_STOCHASTIC",
    "TOPOLOGIES",
    "WEIGHTS",
    "BarabasiAlbertOptions",
    "BarbellOptions",
    "BaseGraphOptions",
    "CirculantOptions",
    "CompleteOptions",
    "DirectedEdgesOptions",
    "DirectedExponentialOptions",
    "DirectedOnePeerExponentialOptions",
    "DirectedOptions",
    "DirectedRingOptions",
    "EdgesOptions",
    "ErdosRenyiOptions",
    "ExponentialOptions",
    "FailingSchedule",
    "FileOptions",
    "HyperHypercubeOptions",
    "HypercubeOptions",
    "MatchingSchedule",
    "OnePeerExponentialOptions",
    "PathOptions",
    "PeriodicOptions",
    "RandomRegularOptions",
    "RandomTreeOptions",
    "RingOptions",
    "Schedule",
    "SequenceOptions",
    "SimpleBaseGraphOptions",
    "StarOptions",
    "StaticSchedule",
    "Topology",
    "TopologyOptions",
    "TorusOptions",
    "TreeOptions",
    "WattsStrogatzOptions",
    "Weights",
    "consensus_rate",
    "diameter",
    "parse_topology",
    "spectral_gap",
]
