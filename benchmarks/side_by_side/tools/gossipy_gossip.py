# /// script
# requires-python = ">=3.8"
# dependencies = ["gossipy-dfl==0.0.1", "torchvision"]  # which it imports without asking for it
# ///
"""gossipy: gossip learning on a ring; in a round every node sends its model to a neighbor, which merges and trains."""

import torch
from gossipy.core import AntiEntropyProtocol, CreateModelMode, StaticP2PNetwork
from gossipy.data import DataDispatcher
from gossipy.data.handler import ClassificationDataHandler
from gossipy.model import TorchModel
from gossipy.model.handler import TorchModelHandler
from gossipy.node import GossipNode
from gossipy.simul import GossipSimulator, SimulationEventReceiver
from job import BATCH, IMAGES, LR, NODES, ROUNDS, Stopwatch, all_images, network

TICKS = 100
"""Steps of gossipy's clock in a round."""


class _Network(TorchModel):
    def __init__(self):
        super().__init__()
        self.layers = network()

    def forward(self, inputs):
        return self.layers(inputs)

    def init_weights(self):
        pass


class _Rounds(SimulationEventReceiver):
    def __init__(self, watch):
        self.watch = watch

    def update_message(self, failed, msg=None):
        pass

    def update_evaluation(self, round, on_user, evaluation):
        pass

    def update_end(self):
        pass

    def update_timestep(self, t):
        if (t + 1) % TICKS == 0:
            self.watch.round_ended()


def main() -> None:
    """Run the rounds, one node after another, an operation with a thread on every core."""
    watch = Stopwatch()
    data = DataDispatcher(ClassificationDataHandler(*all_images(), test_size=0), NODES, False, auto_assign=False)
    data.set_assignments([list(range(node * IMAGES, (node + 1) * IMAGES)) for node in range(NODES)], None)
    one = torch.eye(NODES)
    ring = StaticP2PNetwork(NODES, (one.roll(1, 0) + one.roll(-1, 0)).numpy())
    handler = TorchModelHandler(
        _Network(),
        torch.optim.SGD,
        {"lr": LR},
        torch.nn.CrossEntropyLoss(),
        batch_size=BATCH,
        create_model_mode=CreateModelMode.MERGE_UPDATE,
    )
    nodes = GossipNode.generate(data, ring, handler, TICKS, sync=True)
    simulator = GossipSimulator(nodes, data, TICKS, AntiEntropyProtocol.PUSH)
    simulator.add_receiver(_Rounds(watch))
    simulator.init_nodes()
    simulator.start(ROUNDS)
    watch.report("gossipy-dfl", "gossip, ring")


if __name__ == "__main__":
    main()
