"""The clients: local training and evaluation."""

import torch
from flwr.app import ArrayRecord, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from quickstart.task import get_model, load_data
from quickstart.task import test as test_fn
from quickstart.task import train as train_fn

app = ClientApp()
device = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def received(msg, context):
    """Return the model of a message, and the client's images."""
    model = get_model()
    model.load_state_dict(msg.content["arrays"].to_torch_state_dict())
    node = context.node_config
    return model, *load_data(node["partition-id"], node["num-partitions"], context.run_config["batch-size"])


@app.train()
def train(msg, context):
    """Train the received model on the client's images."""
    model, trainloader, _ = received(msg, context)
    loss = train_fn(model, trainloader, context.run_config["local-epochs"], msg.content["config"]["lr"], device)
    metrics = MetricRecord({"train_loss": loss, "num-examples": len(trainloader.dataset)})
    arrays = ArrayRecord(model.state_dict())
    return Message(content=RecordDict({"arrays": arrays, "metrics": metrics}), reply_to=msg)


@app.evaluate()
def evaluate(msg, context):
    """Evaluate the received model on the client's validation images."""
    model, _, valloader = received(msg, context)
    loss, accuracy = test_fn(model, valloader, device)
    metrics = MetricRecord({"eval_loss": loss, "eval_acc": accuracy, "num-examples": len(valloader.dataset)})
    return Message(content=RecordDict({"metrics": metrics}), reply_to=msg)
