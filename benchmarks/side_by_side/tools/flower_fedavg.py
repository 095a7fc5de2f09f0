"""Flower's simulation: FedAvg as in its quickstart, a ClientApp process on every core."""

import torch
from flwr.app import ArrayRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp
from flwr.serverapp import Grid, ServerApp
from flwr.serverapp.strategy import FedAvg
from flwr.simulation import run_simulation
from job import IMAGES, NODES, ROUNDS, Stopwatch, images_of, network, train

client, server, watch = ClientApp(), ServerApp(), Stopwatch()


@client.train()
def train_client(message: Message, context: Context) -> Message:
    """Take the local steps from the server's parameters."""
    torch.set_num_threads(1)
    module = network()
    module.load_state_dict(message.content["arrays"].to_torch_state_dict())
    loss = train(module, *images_of(int(context.node_config["partition-id"])))
    metrics = MetricRecord({"train_loss": loss, "num-examples": IMAGES})
    return Message(RecordDict({"arrays": ArrayRecord(module.state_dict()), "metrics": metrics}), reply_to=message)


class _Timed(FedAvg):
    def aggregate_train(self, server_round, replies):
        answers = list(replies)
        if (good := sum(not answer.has_error() for answer in answers)) < NODES:
            raise RuntimeError(f"{good} of {NODES} clients trained")
        result = super().aggregate_train(server_round, answers)
        watch.round_ended()
        return result


@server.main()
def main(grid: Grid, context: Context) -> None:
    """Run the rounds."""
    strategy = _Timed(fraction_evaluate=0.0, min_train_nodes=NODES, min_available_nodes=NODES)
    strategy.start(grid, ArrayRecord(network().state_dict()), num_rounds=ROUNDS)


if __name__ == "__main__":
    run_simulation(server, client, NODES, backend_config={"client_resources": {"num_cpus": 1}})
    watch.report("flwr", "FedAvg")
