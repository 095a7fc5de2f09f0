"""``ngpd-fl demo``: a first comparison, in seconds and without a download."""

from __future__ import annotations

from ngpd_fl.cli import flags
from ngpd_fl.cli.compare import compare_strategies

_KEYS = {"data.dataset": "digits", "topology.name": "ring", "topology.nodes": 8, "training.rounds": 30, "seed": 0}


def demo(watch: flags.Watch = False) -> None:
    """Compare NGPD with DSGD on 8 nodes in a ring, on the digits data set.

    The same as: ngpd-fl compare --strategies ngpd,dsgd --dataset digits --topology ring --nodes 8 --rounds 30 --seed 0
    --set dsgd.lr=0.1 --name demo
    """
    given = flags.ConfigFlags(_KEYS, ["dsgd.lr=0.1"], None, {})
    compare_strategies(given, "ngpd,dsgd", None, "demo", watch=watch)
