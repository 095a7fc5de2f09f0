"""A loop over separate ``nn.Module``s: each takes its steps, then averages with its two neighbors on a ring."""

import copy

import torch
from job import NODES, ROUNDS, Stopwatch, images_of, network, train


def main() -> None:
    """Run the job; an operation has a thread on every core."""
    watch, modules, images = Stopwatch(), [network()], [images_of(node) for node in range(NODES)]
    modules += [copy.deepcopy(modules[0]) for _ in range(NODES - 1)]
    for _ in range(ROUNDS):
        for module, (inputs, labels) in zip(modules, images, strict=True):
            train(module, inputs, labels)
        with torch.no_grad():
            before = [[parameter.clone() for parameter in module.parameters()] for module in modules]
            for node, module in enumerate(modules):
                rows = zip(before[node - 1], before[node], before[(node + 1) % NODES], strict=True)
                for parameter, row in zip(module.parameters(), rows, strict=True):
                    parameter.copy_(sum(row) / 3)
        watch.round_ended()
    watch.report("", "DSGD, ring")


if __name__ == "__main__":
    main()
