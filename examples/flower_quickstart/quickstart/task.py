"""The network, the data of a client, and its training."""

import os

import torch
from datasets import load_dataset
from flwr_datasets.partitioner import DirichletPartitioner
from torch import nn
from torch.utils.data import DataLoader
from torchvision.models import resnet18
from torchvision.transforms import Compose, Normalize, ToTensor

transforms = Compose([ToTensor(), Normalize((0.49, 0.48, 0.45), (0.25, 0.24, 0.26))])
partitioner = None  # of the training images, read once in a process


def get_model():
    """Return a ResNet-18, with BatchNorm, always with the same start."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return resnet18(num_classes=10)


def apply_transforms(batch):
    """Return the images of a batch as normalized tensors."""
    batch["image"] = [transforms(image.convert("RGB")) for image in batch["image"]]
    return batch


def read(split):
    """Return CIFAR-10: from the Hugging Face hub, or from the folders of images in $CIFAR10_DIR."""
    if folder := os.environ.get("CIFAR10_DIR"):
        return load_dataset("imagefolder", data_dir=folder, split=split)
    return load_dataset("uoft-cs/cifar10", split=split).rename_column("img", "image")


def load_data(partition_id, num_partitions, batch_size):
    """Return a client's images: four fifths to train on, the others to validate."""
    global partitioner
    if partitioner is None:
        partitioner = DirichletPartitioner(num_partitions=num_partitions, partition_by="label", alpha=0.5, seed=42)
        partitioner.dataset = read("train")
    parts = partitioner.load_partition(partition_id).train_test_split(test_size=0.2, seed=42)
    parts = parts.with_transform(apply_transforms)
    trainloader = DataLoader(parts["train"], batch_size=batch_size, shuffle=True)
    return trainloader, DataLoader(parts["test"], batch_size=batch_size)


def load_test():
    """Return the test images, on which the server evaluates."""
    return DataLoader(read("test").with_transform(apply_transforms), batch_size=128)


def train(model, trainloader, epochs, lr, device):
    """Train on a client's images; return the mean loss of the steps."""
    model.to(device).train()
    criterion = nn.CrossEntropyLoss()
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    losses = []
    for _ in range(epochs):
        for batch in trainloader:
            optimizer.zero_grad()
            loss = criterion(model(batch["image"].to(device)), batch["label"].to(device))
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return sum(losses) / len(losses)


@torch.no_grad()
def test(model, testloader, device):
    """Return the mean loss and the accuracy on images."""
    model.to(device).eval()
    criterion = nn.CrossEntropyLoss(reduction="sum")
    loss = correct = 0
    for batch in testloader:
        outputs, labels = model(batch["image"].to(device)), batch["label"].to(device)
        loss += criterion(outputs, labels).item()
        correct += (outputs.argmax(1) == labels).sum().item()
    return loss / len(testloader.dataset), correct / len(testloader.dataset)
