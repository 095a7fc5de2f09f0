"""The same run on a GPU: equal to the CPU's up to rounding, chosen by itself, in memory that a chunk bounds."""

from __future__ import annotations

import pytest
import torch

from ngpd_fl import Config, run
from ngpd_fl.engines import SynchronousEngine
from ngpd_fl.training import compose
from strategies import STRATEGIES

pytestmark = pytest.mark.gpu


def config(strategy: str, **engine: object) -> Config:
    spec = STRATEGIES[strategy][0].spec
    schedule = "static" if spec.static else {"name": "failing", "probability": 0.2}
    return Config(
        strategy=strategy,
        model={"name": "lenet"},
        topology={"name": "star", "nodes": 6, "schedule": schedule},
        training={"rounds": 2, "local_steps": 1 if spec.single_step else 3},
        network={"message_loss": 0.2},
        engine={"dtype": "float64", **engine},
    )


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_equals_the_cpu(strategy: str) -> None:
    on_cpu = run(config(strategy, device="cpu"))
    on_gpu = run(config(strategy, device="cuda"))
    torch.testing.assert_close(on_gpu.params.cpu(), on_cpu.params, rtol=1e-7, atol=1e-9)
    assert on_gpu.metrics[-1].bytes_sent == on_cpu.metrics[-1].bytes_sent


def test_auto_takes_the_gpu() -> None:
    assert compose(config("dsgd")).compute_devices[0].type == "cuda"


def test_chunks_bound_the_memory() -> None:
    """What a local step needs beyond the nodes' states grows with the chunk, not with the network."""

    def peak(chunk_size: int | None) -> int:
        job = compose(
            Config(
                strategy="dsgd",
                model={"name": "lenet", "channels": (32, 64)},
                topology={"name": "ring", "nodes": 32},
                partition={"name": "iid"},
                data={"batch_size": 128},
                training={"local_steps": 1},
                engine={"device": "cuda", "chunk_size": chunk_size},
            )
        )
        engine = SynchronousEngine(job.engine_settings)
        engine.run_round()
        torch.cuda.synchronize()
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        engine.run_round()
        torch.cuda.synchronize()
        return torch.cuda.max_memory_allocated() - before

    assert peak(4) < 0.5 * peak(None)


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
@pytest.mark.parametrize("strategy", ["ngpd", "dsgd"])
def test_several_equal_one(strategy: str) -> None:
    on_one = run(config(strategy, device="cuda:0"))
    on_two = run(config(strategy, device="cuda:0,cuda:1"))
    torch.testing.assert_close(on_two.params, on_one.params, rtol=1e-9, atol=1e-9)
