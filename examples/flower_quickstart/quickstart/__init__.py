"""A Flower app: FedAvg of a ResNet-18 on CIFAR-10."""
