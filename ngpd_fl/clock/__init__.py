"""The virtual clock: when each node computes, sends and reads."""

from ngpd_fl.clock.conditions import Conditions, Costs, Loss, Presence
from ngpd_fl.clock.events import Drop, Event, Notice, Read, Taken, Work, from_json, to_json
from ngpd_fl.clock.log import Replay, keep_rounds, write_round
from ngpd_fl.clock.modes import MODES, make_timeline
from ngpd_fl.clock.timeline import Timeline
from ngpd_fl.clock.usage import Usage
from ngpd_fl.clock.virtual_clock import VirtualClock

__all__ = [
    "MODES",
    "Conditions",
    "Costs",
    "Drop",
    "Event",
    "Loss",
    "Notice",
    "Presence",
    "Read",
    "Replay",
    "Taken",
    "Timeline",
    "Usage",
    "VirtualClock",
    "Work",
    "from_json",
    "keep_rounds",
    "make_timeline",
    "to_json",
    "write_round",
]
