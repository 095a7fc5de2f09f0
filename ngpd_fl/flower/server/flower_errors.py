"""Text of the errors that Flower and Ray report in place of a client's answer.

They name neither a dead process nor the exception of a client in any other form, so this module matches their text. Its
tests build that text with the exceptions of Flower and Ray.
"""

from __future__ import annotations

import re

_DEAD = re.compile(r"ActorDiedError.*?actor_id: (\w+)|ActorUnavailableError.*?The actor (\w+) is", re.DOTALL)
"""A message to a process of Ray that has died, or that Ray cannot reach."""

_RAISED_IN_SIMULATION = re.compile(r"ClientAppException occurred\. Message: (.*?)'>$", re.DOTALL)
_RAISED_ON_SUPERNODE = re.compile(r"<class '\S+'>:<'(.*)'>", re.DOTALL)
"""An exception of a client, in a simulation after a stack of Ray, on a SuperNode with its class."""

_LONGEST = 300


def dead_process(reason: str) -> str | None:
    """Return Ray's id of the dead process that a message went to; None for any other error."""
    match = _DEAD.search(reason)
    return match and (match[1] or match[2])


def shortened_reason(reason: str) -> str:
    """Return an error's reason as one line of bounded length, without the stack and class around its message."""
    raised = _RAISED_IN_SIMULATION.search(reason) or _RAISED_ON_SUPERNODE.fullmatch(reason)
    text = " ".join((raised[1] if raised else reason).split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 3]}..."
