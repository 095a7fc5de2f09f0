# /// script
# requires-python = ">=3.10"
# dependencies = ["fluke-fl>=0.8,<0.9"]
# ///
"""fluke: FedAvg, one client after another, an operation with a thread on every core."""

from fluke import DDict, FlukeENV
from fluke.algorithms.fedavg import FedAVG
from fluke.data import DataSplitter, DummyDataContainer, FastDataLoader
from job import BATCH, CLASSES, LR, NODES, ROUNDS, Stopwatch, images_of, network


def main() -> None:
    """Run the rounds, without evaluations."""
    watch = Stopwatch()
    FlukeENV().set_seed(0)
    FlukeENV().set_device("cpu")
    FlukeENV().set_inmemory(True)
    FlukeENV().set_eval_cfg(task="classification", locals=False, server=False, pre_fit=False, post_fit=False)
    loaders = [
        FastDataLoader(*images_of(node), num_labels=CLASSES, batch_size=BATCH, shuffle=True) for node in range(NODES)
    ]
    splitter = DataSplitter(DummyDataContainer(loaders, [None] * NODES, None, CLASSES))
    parameters = DDict(
        client={
            "batch_size": BATCH,
            "local_epochs": 1,
            "loss": "CrossEntropyLoss",
            "optimizer": {"name": "SGD", "lr": LR},
            "scheduler": {"name": "StepLR", "step_size": 1, "gamma": 1},
        },
        server={"weighted": True},
        model=network(),
    )
    federation = FedAVG(NODES, splitter, parameters)
    for _ in range(ROUNDS):
        federation.run(1, 1.0)
        watch.round_ended()
    watch.report("fluke-fl", "FedAvg")


if __name__ == "__main__":
    main()
