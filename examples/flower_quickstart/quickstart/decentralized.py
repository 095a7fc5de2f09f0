"""NGPD of the app's clients on a ring, without a server: ``python -m quickstart.decentralized CLIENTS``."""

import sys
import tomllib

from torch.utils.data import ConcatDataset

from ngpd_fl import Config, ProgressBar, run
from quickstart.task import get_model, load_data, load_test

with open("pyproject.toml", "rb") as file:
    app = tomllib.load(file)["tool"]["flwr"]["app"]["config"]
clients, batch, epochs = int(sys.argv[1]), app["batch-size"], app["local-epochs"]
train = ConcatDataset([load_data(client, clients, batch)[0].dataset for client in range(clients)])
parts = [range(end - len(part), end) for part, end in zip(train.datasets, train.cumulative_sizes, strict=True)]
config = Config(
    topology={"name": "ring", "nodes": clients},
    data={"batch_size": batch, "validation_fraction": 0},
    model={"batch_norm": "group"},
    training={"rounds": app["num-server-rounds"], "local_steps": epochs * len(train) // (clients * batch)},
)
result = run(config, callbacks=[ProgressBar()], model=get_model(), data=(train, load_test().dataset), partition=parts)
print(f"NGPD: accuracy {result.metrics[-1].mean:.3f}, {result.metrics[-1].bytes_sent / 1e6:.0f} MB")
