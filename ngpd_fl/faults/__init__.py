"""Faults: of messages on their way, of nodes that come and go, and of what nodes send."""

from ngpd_fl.faults.conditions import FaultyConditions, check_faults
from ngpd_fl.faults.tampering import Tampering

__all__ = ["FaultyConditions", "Tampering", "check_faults"]
