"""Mirrors of the neighbors' duals in edge consensus, one for each edge, and the time when each is known to be right.

Node i holds m for z_j|i, and moves it as node j moves that, by the messages of its own that j has applied:

    m <- m + clip(theta (y_i|j - m))                                                                             (1)

It is right only if i knows which these are: a bitmap in the header of j's message says so. Until then a message is
unresolved: it may be lost or, between nodes out of step, still on its way; one older than the newest that j has applied
will never be applied. The last few are remembered as ``pending``. An error arises where a message was forgotten before
its fate was known, or where one of the two nodes has gone back to an earlier state (a process that was killed and goes
on from a checkpoint; ``Headers.reset``).

**Without clipping** a mirror forgets an error at the rate 1 - theta per message applied, so that it is right again, to
rounding, after ``messages_to_forget`` of them: one if theta = 1.

**With clipping** (tau) it forgets none by a message that is clipped. Let d = |y - m|, and e a bound on |m - z|. Since
clip(theta x) = theta P(x), with P the projection onto the ball of radius tau / theta, and x - P(x) moves no two points
apart and has the length (|x| - tau / theta)_+,

    e <- (1 - theta) e + min(theta e, (theta (d + e) - tau)_+ + (theta d - tau)_+)                               (2)

for each message applied. One that was or may have been applied, and is forgotten, has moved z by tau at most: e grows
by that. A mirror is right where e = 0. So a few messages that hardly move the dual bring it back, while the edge of a
neighbor at which every message is clipped stays out of the mixing; so does one that was reset, since nothing bounds e.

**With a shared mask** nan stands in a message for the entries that have not traveled: there m stays as it is. Errors
are then counted entry by entry.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from strategies.contract import Headers
from strategies.lazy_torch import Tensor, torch
from strategies.parts.gossip import within

_BITS = 62
_OLDER = 1 << _BITS
_NEWEST = _OLDER - 1

_ANY_ERROR = 1e30
"""A bound that bounds nothing; finite, so that (2) can be computed."""


class Mirror(NamedTuple):
    """A node's copies of its neighbors' duals; H is the number of own messages that it remembers.

    Attributes:
        value: m, the neighbors' z_j|i, ``[D, P]``.
        pending: the last own messages, the newest first, ``[D, H, P]``.
        unresolved: bitmap of the own messages whose fate is unknown, int64 ``[D]``: bit k is the (k+1)-th last one;
            bit 62 stands for all that are older than the 62 others.
        stale: 0 where the mirror is right, ``[D]``. Else, int64, messages still to be applied until it is; with
            clipping, float, the bound e on its error; with a shared mask that of each entry, int32 ``[D, P]``.
    """

    value: Tensor
    pending: Tensor
    unresolved: Tensor
    stale: Tensor


def start_mirror(value: Tensor, history: int, clip: float | None, shares_mask: bool = False) -> Mirror:
    """Return the mirror of duals that are known to be ``value [D, P]``, with room for H = ``history`` own messages."""
    none = torch.zeros(value.shape[:1], dtype=torch.int64, device=value.device)
    if shares_mask:
        stale = torch.zeros_like(value, dtype=torch.int32)
    else:
        stale = none.clone() if clip is None else value.new_zeros(value.shape[:1])
    return Mirror(value, torch.zeros_like(value)[:, None].repeat(1, history, 1), none, stale)


def moved(dual: Tensor, message: Tensor, theta: float, clip: float | None) -> Tensor:
    """Return what duals ``[D, P]`` become by messages ``[D, P]``, as (1)."""
    there = (1 - theta) * dual + theta * message
    return there if clip is None else within(there, dual, clip)


def messages_to_forget(theta: float, dtype: torch.dtype) -> int:
    """Return after how many applied messages an error in a mirror has fallen below rounding."""
    return 1 if theta == 1 else math.ceil(math.log(torch.finfo(dtype).eps) / math.log(1 - theta))


def error_bound(error: Tensor, distance: Tensor, theta: float, clip: float) -> Tensor:
    """Return the bounds e ``[D]`` after messages that were d ``[D]`` from the mirrors, by (2); below rounding, 0."""
    beyond = (theta * (distance + error) - clip).clamp(min=0) + (theta * distance - clip).clamp(min=0)
    error = (1 - theta) * error + torch.minimum(theta * error, beyond)
    return torch.where(error > torch.finfo(error.dtype).eps * clip, error, 0)


def catch_up(mirror: Mirror, theta: float, headers: Headers, clip: float | None = None) -> Mirror:
    """Apply the unresolved messages that the neighbor had applied when it wrote, the oldest first as it did.

    A message newer than all that the neighbor had applied stays unresolved: it may still be on its way.
    """
    news = torch.where(headers.received, headers.applied & mirror.unresolved, 0)
    is_reset = headers.received & headers.reset
    if clip is not None:
        value, stale = _apply_clipped(mirror, news, is_reset, theta, clip)
    else:
        apply = _apply if mirror.stale.dim() == 1 else _apply_masked
        value, stale = apply(mirror, news, is_reset | (headers.received & (mirror.unresolved & _OLDER != 0)), theta)
    newest = headers.applied & -headers.applied  # the lowest bit that is set
    unresolved = torch.where(headers.received, mirror.unresolved & (newest - 1), mirror.unresolved)
    return Mirror(value, mirror.pending, unresolved, stale)


def remember(mirror: Mirror, sent: Tensor, sends: Tensor, clip: float | None = None) -> Mirror:
    """Put the message that was just sent, ``[D, P]``, in front of the pending ones."""
    shifted = torch.cat([sent[:, None], mirror.pending[:, :-1]], dim=1)
    unresolved = ((mirror.unresolved & _NEWEST) << 1) | (mirror.unresolved & _OLDER) | 1
    mirror = mirror._replace(
        pending=torch.where(sends[:, None, None], shifted, mirror.pending),
        unresolved=torch.where(sends, unresolved, mirror.unresolved),
    )
    if clip is None:
        return mirror
    leaves = sends & (mirror.unresolved & _OLDER != 0)
    return mirror._replace(unresolved=mirror.unresolved & _NEWEST, stale=mirror.stale + clip * leaves)


def _apply(mirror: Mirror, news: Tensor, forgotten: Tensor, theta: float) -> tuple[Tensor, Tensor]:
    """Return m and ``stale`` after the messages in ``news [D]``, all in one product.

    What was applied keeps 1 - theta of its weight whenever a newer message is.
    """
    value, pending, _, stale = mirror
    history = pending.shape[1]
    stale = torch.where(forgotten | (news >> history != 0), messages_to_forget(theta, value.dtype), stale)
    taken = (news[:, None] >> torch.arange(history, device=news.device)) & 1  # [D, H]
    weights = theta * taken.to(value.dtype)
    left = torch.cumprod(torch.cat([torch.ones_like(weights[:, :1]), 1 - weights], dim=1), dim=1)
    applied = ((weights * left[:, :-1])[:, None] @ pending)[:, 0]
    return torch.addcmul(applied, left[:, -1:], value), (stale - taken.sum(1)).clamp(min=0)


def _apply_masked(mirror: Mirror, news: Tensor, forgotten: Tensor, theta: float) -> tuple[Tensor, Tensor]:
    """Return m and ``stale``, both by entry, after the messages in ``news [D]``, one by one."""
    value, pending, _, stale = mirror
    history = pending.shape[1]
    wrong = (forgotten | (news >> history != 0))[:, None]
    stale = torch.where(wrong, messages_to_forget(theta, value.dtype), stale)
    for age in reversed(range(history)):
        message = pending[:, age]
        taken = ((news >> age) & 1 == 1)[:, None] & ~message.isnan()
        value = torch.where(taken, moved(value, message, theta, None), value)
        stale = torch.where(taken, (stale - 1).clamp(min=0), stale)
    return value, stale


def _apply_clipped(mirror: Mirror, news: Tensor, is_reset: Tensor, theta: float, clip: float) -> tuple[Tensor, Tensor]:
    """Return m and e after the messages in ``news [D]``, one by one, by (1) and (2)."""
    value, pending, _, error = mirror
    history = pending.shape[1]
    ages = torch.arange(history, _BITS, device=news.device)
    error = error + clip * (news[:, None] >> ages & 1).sum(1)
    error = torch.where(is_reset, _ANY_ERROR, error)
    for age in reversed(range(history)):
        taken, message = (news >> age) & 1 == 1, pending[:, age]
        distance = torch.linalg.vector_norm(message - value, dim=1)
        error = torch.where(taken, error_bound(error, distance, theta, clip), error)
        value = torch.where(taken[:, None], moved(value, message, theta, clip), value)
    return value, error
