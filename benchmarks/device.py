"""Speed of one device with a large network of nodes: NGPD against SGD, and both against the device's limits.

On a GPU 1,024 nodes with a ResNet-20 each, on a CPU a few with a ResNet-8. Random images: arithmetic does not depend on
them. Printed are the device's measured matrix rate and memory rate, node-steps a second, the share of the matrix rate
that they make (counting the multiplications and additions of the network's forward and backward pass only, so NGPD's
curvature counts as time and not as work), the peak of memory, and the ratio of the two algorithms.

Then the number of times that the host waits for a GPU in a round: copies between the two, and other operations that
need all queued work to end. They are counted on a pretended device, with or without a GPU.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

import torch
from torch.utils.flop_counter import FlopCounterMode

from ngpd_fl.config import ModelConfig
from ngpd_fl.curvature import KFAC
from ngpd_fl.data import Split
from ngpd_fl.engines import DataMinibatches, EngineSettings, SynchronousEngine
from ngpd_fl.models import Categorical, SupervisedObjective, build_model
from strategies import DSGDOptions, NGPDOptions, make_strategy
from tests.support.pretend_device import Counts, PretendDevice
from topologies import parse_topology

IMAGE, BATCH, STEPS, REPEATS = (3, 32, 32), 32, 10, 2
BASIS_EVERY = 100
SCHEDULE = {"factor_every": 10, "basis_every": 2 * STEPS, "factor_batch": 8}
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
PRECISION = "TF32" if DEVICE.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32"
"""Precision of convolutions, nearly all of the network; torch's default for matrices differs."""
NODES, MODEL, CHUNK = (1024, "resnet20", 128) if DEVICE.type == "cuda" else (4, "resnet8", None)


def seconds(work: Callable[[], object]) -> float:
    """Return the time of one call: a GPU's from an empty queue to an empty queue, a CPU's of this process."""
    _wait()
    clock = time.perf_counter if DEVICE.type == "cuda" else time.process_time
    began = clock()
    work()
    _wait()
    return clock() - began


def _wait() -> None:
    if DEVICE.type == "cuda":
        torch.cuda.synchronize()


def matrix_rate() -> float:
    """Return the best rate of a large matrix product in ``PRECISION``, in multiplications and additions a second."""
    size = 8192 if DEVICE.type == "cuda" else 1024
    left, right = torch.randn(2, size, size, device=DEVICE)
    usual = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high" if PRECISION == "TF32" else "highest")
    rate = 2 * size**3 / min(seconds(lambda: left @ right) for _ in range(5))
    torch.set_float32_matmul_precision(usual)
    return rate


def memory_rate() -> float:
    """Return the best rate of a large copy, in bytes read and written a second."""
    source = torch.randn(2**28 if DEVICE.type == "cuda" else 2**25, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.numel() * source.element_size() / min(seconds(lambda: target.copy_(source)) for _ in range(5))


def work_of_a_step() -> int:
    """Return the multiplications and additions of one node's forward and backward pass on a batch."""
    network = build_model(ModelConfig(name=MODEL), IMAGE, 10, 0, torch.float32).module
    with FlopCounterMode(display=False) as counter:
        network(torch.randn(BATCH, *IMAGE)).sum().backward()
    return int(counter.get_total_flops())


def engine(
    options: DSGDOptions | NGPDOptions,
    device: torch.device = DEVICE,
    nodes: int = NODES,
    steps: int = STEPS,
    model: str = MODEL,
    image: tuple[int, int, int] = IMAGE,
) -> SynchronousEngine:
    """Return an engine on random images."""
    generator = torch.Generator().manual_seed(0)
    images, labels = torch.randn(10000, *image, generator=generator), torch.randint(10, (10000,), generator=generator)
    network = build_model(ModelConfig(name=model), image, 10, 0, torch.float32)
    network.module.to(device)
    if isinstance(options, NGPDOptions):
        strategy = make_strategy(options, KFAC(network, Categorical(), image, options))
    else:
        strategy = make_strategy(options, SupervisedObjective(network, Categorical()))
    parts = [torch.randint(10000, (400,), generator=generator).numpy() for _ in range(nodes)]
    minibatches = DataMinibatches(Split(images.to(device), labels.to(device)), parts, BATCH, seed=0)
    topology = parse_topology({"name": "ring", "nodes": nodes}).build(0)
    return SynchronousEngine(
        EngineSettings(strategy, topology, minibatches, network.start(), steps, rounds=1, chunk_size=CHUNK)
    )


def measure(name: str, options: DSGDOptions | NGPDOptions, flops: int, rate: float) -> float:
    """Print one algorithm's line; return its seconds per node-step.

    Every other round makes new eigenbases, which is what it takes longer; that is shared among ``BASIS_EVERY`` steps.
    """
    if DEVICE.type == "cuda":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    running = engine(options)
    first = seconds(running.run_round)
    rounds = [seconds(running.run_round) for _ in range(2 * REPEATS)]
    plain, refreshing = statistics.median(rounds[::2]), statistics.median(rounds[1::2])
    bases = max(0.0, refreshing - plain) if options.second_order else 0.0
    per_step = (plain / STEPS + bases / BASIS_EVERY) / NODES
    peak = f"{torch.cuda.max_memory_allocated() / 2**30:8.1f} GiB" if DEVICE.type == "cuda" else ""
    share = flops / per_step / rate
    print(f"{name:<6}{first:>12.1f} s{1 / per_step:>14.0f}{share:>16.1%}{bases:>10.1f} s{peak:>14}", flush=True)
    return per_step


def waits(options: DSGDOptions | NGPDOptions, nodes: int, steps: int) -> Counts:
    """Return the number of times that the host waits for a GPU in one round of a small network."""
    with PretendDevice() as device:
        running = engine(options, torch.device("cuda"), nodes, steps, "softmax", (1, 8, 8))
        running.run_round()
        device.reset()
        info = running.run_round()
        float(info.loss), float(info.shrink)  # as a run does
        return device.counts


def print_waits() -> None:
    """Print the number of times that the host waits in a round."""
    print(f"\n{'waits in a round':<22}{'uploads':>10}{'downloads':>12}{'others':>9}{'eigenbases':>13}")
    for name, options in (("SGD", DSGDOptions(momentum=0.0)), ("NGPD", NGPDOptions())):
        for nodes, steps in ((8, 8), (64, 8), (8, 16)):
            uploads, downloads, others, bases = waits(options, nodes, steps)
            print(
                f"{f'{name}, {nodes} x {steps} steps':<22}{uploads:>10}{downloads:>12}{others:>9}{bases:>13}",
                flush=True,
            )


def main() -> None:
    """Print the figures."""
    torch.set_num_threads(1)
    what = torch.cuda.get_device_name() if DEVICE.type == "cuda" else "CPU, one thread"
    rate, flops = matrix_rate(), work_of_a_step()
    print(f"{what}, torch {torch.__version__}: {NODES} nodes, {MODEL}, batch {BATCH}, ring, {STEPS} steps a round")
    print(f"matrix product {rate / 1e12:.2f} Tflop/s ({PRECISION}), copy {memory_rate() / 1e9:.0f} GB/s")
    print(f"one node's step: {flops / 1e9:.2f} Gflop")
    print(f"{'':<6}{'first round':>14}{'node-steps/s':>14}{'of matrix rate':>16}{'bases':>12}{'peak memory':>14}")
    sgd = measure("SGD", DSGDOptions(momentum=0.0), flops, rate)
    ngpd = measure("NGPD", NGPDOptions.model_validate(SCHEDULE), flops, rate)
    factors = f"factors every {SCHEDULE['factor_every']} steps from {SCHEDULE['factor_batch']} of {BATCH} examples"
    print(f"NGPD / SGD {ngpd / sgd:.2f}, with {factors} and bases every {BASIS_EVERY}")
    print_waits()


if __name__ == "__main__":
    main()
