"""ngpd_fl: decentralized SGD on a ring, all nodes in one process, a worker on every core."""

from job import BATCH, LR, NODES, ROUNDS, STEPS, Stopwatch, all_images
from torch import Tensor

from ngpd_fl import Callback, Config, Progress, run


def images() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return training images and a few to evaluate on."""
    inputs, labels = all_images()
    return inputs, labels, inputs[:BATCH], labels[:BATCH]


class _Rounds(Callback):
    def __init__(self, watch: Stopwatch) -> None:
        self.watch = watch

    def on_round(self, run: object, progress: Progress) -> None:
        if progress.round:
            self.watch.round_ended()


def main(method: str, **training: str) -> None:
    """Run the job."""
    watch = Stopwatch()
    config = Config(
        data={"dataset": "ngpd_fl_dsgd:images", "validation_fraction": 0, "batch_size": BATCH},
        partition="iid",
        topology={"name": "ring", "nodes": NODES},
        strategy={"name": "dsgd", "lr": LR, "momentum": 0.0},
        model={"name": "job:network"},
        training={"rounds": ROUNDS, "local_steps": STEPS, **training},
        evaluation={"every": ROUNDS},
        engine={"device": "cpu"},
    )
    run(config, callbacks=[_Rounds(watch)])
    watch.report("ngpd-fl", method)


if __name__ == "__main__":
    main("DSGD, ring")
