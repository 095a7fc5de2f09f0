"""Injected faults: lost and delayed messages, nodes that leave and return, corrupt and Byzantine nodes."""

from ngpd_fl.faults.conditions import FaultyConditions, check_faults
from ngpd_fl.faults.tampering import Tampering

__all__ = ["FaultyConditions", "Tampering", "check_faults"]
