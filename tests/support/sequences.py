"""Small data sets of sequences and of several labels, and networks for them; named by import path in configurations."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

LENGTH, TOKENS = 6, 5

Arrays = tuple[Tensor, Tensor, Tensor, Tensor]


def sequences() -> Arrays:
    """Return sequences of ids 0 to 4 that count up by 1 or 2, the next ids, and padding at the ends of some."""
    generator = torch.Generator().manual_seed(0)
    start, step = (torch.randint(high, (120, 1), generator=generator) for high in (TOKENS, 2))
    ids = (start + (step + 1) * torch.arange(LENGTH + 1)) % TOKENS
    lengths = torch.randint(2, LENGTH + 1, (120, 1), generator=generator)
    inputs, targets = ids[:, :-1], torch.where(torch.arange(LENGTH) < lengths, ids[:, 1:], -100)
    return inputs[:90].int(), targets[:90], inputs[90:].int(), targets[90:]


def answers() -> Arrays:
    """Return vectors and whether each of three sums of theirs is positive, as bools."""
    generator = torch.Generator().manual_seed(0)
    inputs = torch.randn((150, 4), generator=generator)
    labels = inputs @ torch.randn((4, 3), generator=generator) > 0.3
    return inputs[:100], labels[:100], inputs[100:], labels[100:]


def whole_number_answers() -> Arrays:
    """Return the same with 0 and 1 of floating-point type."""
    train, labels, test, test_labels = answers()
    return train, labels.float(), test, test_labels.float()


class Counter(nn.Module):
    """Reads ids from left to right: what it says at a position depends on that one and all earlier ones."""

    def __init__(self, num_tokens: int) -> None:
        super().__init__()
        self.read, self.say = nn.Linear(num_tokens, 8), nn.Linear(8, num_tokens)

    def forward(self, ids: Tensor) -> Tensor:
        tokens = torch.arange(self.read.in_features, device=ids.device)
        one_hot = (ids[..., None] == tokens).to(self.read.weight.dtype)
        read = self.read(one_hot)
        outputs: Tensor = self.say((read + 0.5 * read.cumsum(1).tanh()).tanh())
        return outputs


def counter(input_shape: Sequence[int], num_classes: int) -> nn.Module:
    return Counter(num_classes)


ROLES = {
    ("hamlet", "HAM"): ["To be, or not to be: that is the question.", "O, I die, Horatio;"],
    ("hamlet", "HORATIO"): ["Now cracks a noble heart. Good night, sweet prince."],
    ("othello", "IAGO"): ["Demand me nothing: what you know, you know."],
    ("othello", "HAM"): ["Another of that name, in another play, speaks here and there."],
}


def write_speeches(folder: Path, *, packed: bool = False) -> None:
    """Write the file of ``shakespeare``: the first speeches of all roles, then the second ones."""
    lines = []
    for turn in range(2):
        for (play, role), speeches in ROLES.items():
            lines += [f"{play}\t{role}\t{speech}\n" for speech in speeches[turn : turn + 1]]
    content = "".join(lines).encode()
    name = "shakespeare.tsv.xz" if packed else "shakespeare.tsv"
    (folder / name).write_bytes(lzma.compress(content) if packed else content)


def with_mask() -> tuple[Any, ...]:
    """Return ids and a padding mask by name; the target is whether the known ids sum to more than 6."""
    inputs, targets, test, test_targets = sequences()

    def named(ids: Tensor, labels: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        mask = labels >= 0
        return {"ids": ids, "mask": mask}, ((ids * mask).sum(1) > 6).long()

    return *named(inputs, targets), *named(test, test_targets)


def with_numbers() -> tuple[Any, ...]:
    """Return measurements, ids and one number of each example, by position."""
    generator = torch.Generator().manual_seed(1)
    measured = torch.randn((120, 3), generator=generator, dtype=torch.float64)
    ids = torch.randint(TOKENS, (120, 2), generator=generator)
    number = torch.rand(120, generator=generator)
    labels = (measured[:, 0] + ids[:, 0] > 2).long()
    return (measured[:90], ids[:90], number[:90]), labels[:90], (measured[90:], ids[90:], number[90:]), labels[90:]


class Masked(nn.Module):
    """Sums what it reads of the ids that the mask lets through."""

    def __init__(self) -> None:
        super().__init__()
        self.read, self.say = nn.Linear(TOKENS, 8), nn.Linear(8, 2)

    def forward(self, *, mask: Tensor, ids: Tensor) -> Tensor:
        assert mask.dtype == torch.bool and ids.dtype == torch.int64
        one_hot = (ids[..., None] == torch.arange(TOKENS, device=ids.device)).to(self.read.weight.dtype)
        outputs: Tensor = self.say((self.read(one_hot).tanh() * mask[..., None]).sum(1))
        return outputs


class Mixed(nn.Module):
    """Reads measurements, ids and a number side by side."""

    def __init__(self) -> None:
        super().__init__()
        self.say = nn.Linear(3 + 2 * TOKENS + 1, 2)

    def forward(self, measured: Tensor, ids: Tensor, number: Tensor) -> Tensor:
        assert ids.dtype == torch.int64 and measured.dtype == number.dtype == self.say.weight.dtype
        one_hot = (ids[..., None] == torch.arange(TOKENS, device=ids.device)).to(measured.dtype)
        outputs: Tensor = self.say(torch.cat([measured, one_hot.flatten(1), number[:, None]], dim=1))
        return outputs


def masked(input_shape: Any, num_classes: int) -> nn.Module:
    assert input_shape == {"ids": (LENGTH,), "mask": (LENGTH,)}
    return Masked()


def mixed(input_shape: Any, num_classes: int) -> nn.Module:
    assert input_shape == ((3,), (2,), ())
    return Mixed()
