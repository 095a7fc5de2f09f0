"""The server: federated averaging."""

import torch
from flwr.app import ArrayRecord, ConfigRecord, MetricRecord
from flwr.serverapp import ServerApp
from flwr.serverapp.strategy import FedAvg

from quickstart.task import get_model, load_test
from quickstart.task import test as test_fn

app = ServerApp()
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


@app.main()
def main(grid, context):
    """Run FedAvg; print the accuracy of the global model and the bytes of all models that were sent."""
    settings = context.run_config
    arrays = ArrayRecord(get_model().state_dict())
    testloader = load_test()

    def global_evaluate(server_round, arrays):
        model = get_model()
        model.load_state_dict(arrays.to_torch_state_dict())
        loss, accuracy = test_fn(model, testloader, device)
        return MetricRecord({"loss": loss, "accuracy": accuracy})

    rounds = settings["num-server-rounds"]
    result = FedAvg(fraction_evaluate=0.0).start(
        grid=grid,
        initial_arrays=arrays,
        num_rounds=rounds,
        train_config=ConfigRecord({"lr": settings["learning-rate"]}),
        evaluate_fn=global_evaluate,
    )
    accuracy = result.evaluate_metrics_serverapp[rounds]["accuracy"]
    megabytes = 2 * rounds * len(list(grid.get_node_ids())) * result.arrays.count_bytes() / 1e6
    print(f"FedAvg: accuracy {accuracy:.3f}, {megabytes:.0f} MB", flush=True)
