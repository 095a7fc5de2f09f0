# /// script
# requires-python = ">=3.12"
# dependencies = ["blazefl[contrib,reproducibility]>=2,<3"]
# ///
"""BlazeFL: FedAvg with its pool of threads, one on every core."""

from enum import StrEnum

import torch
from blazefl.contrib.fedavg import FedAvgBaseServerHandler, FedAvgThreadPoolClientTrainer
from job import BATCH, LR, NODES, ROUNDS, Stopwatch, images_of, network
from torch.utils.data import DataLoader, TensorDataset


class _Name(StrEnum):
    NETWORK = "network"


class _Networks:
    def select_model(self, name):
        return network()


class _Images:
    def __init__(self):
        self.sets = [TensorDataset(*images_of(node)) for node in range(NODES)]

    def get_dataset(self, type_, cid):
        return self.sets[cid]

    def set_dataset(self, type_, cid, dataset):
        self.sets[cid] = dataset

    def get_dataloader(self, type_, cid, batch_size, generator):
        return DataLoader(self.sets[cid], batch_size, shuffle=True, generator=generator)


def main(cores: int) -> None:
    """Run the rounds, an operation on one thread and as many clients at once as there are cores."""
    torch.set_num_threads(1)
    watch, images = Stopwatch(), _Images()
    handler = FedAvgBaseServerHandler(_Networks(), _Name.NETWORK, images, ROUNDS, NODES, 1.0, "cpu", BATCH, seed=0)
    trainer = FedAvgThreadPoolClientTrainer(
        _Networks(), _Name.NETWORK, images, "cpu", NODES, 1, BATCH, LR, seed=0, num_parallels=cores
    )
    while not handler.if_stop():
        trainer.local_process(handler.downlink_package(), handler.sample_clients())
        for package in trainer.uplink_package():
            handler.load(package)
        watch.round_ended()
    watch.report("blazefl", "FedAvg")


if __name__ == "__main__":
    main(torch.get_num_threads())
