# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Your own model, data and graph
#
# `run` takes a PyTorch module, tensors or arrays, and a networkx graph as they are. This notebook trains a small
# network that reads digits, in five post offices that do not share their letters. Each has seen two of the ten
# digits only, so that none can learn the others alone.

# %%
# In Google Colab this installs the package; elsewhere it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "ngpd-fl[report]"], check=True)

# %%
import networkx as nx
import numpy as np
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn

from ngpd_fl import Config, ProgressBar, run

digits = load_digits()
inputs = torch.tensor(digits.data / 16, dtype=torch.float32)  # [1797, 64]
labels = torch.tensor(digits.target)
train, test = train_test_split(np.arange(len(labels)), test_size=0.25, stratify=labels, random_state=0)
data = (inputs[train], labels[train], inputs[test], labels[test])

# %% [markdown]
# ## A graph of offices
#
# Any connected graph of networkx will do; its labels name the nodes.

# %%
graph = nx.Graph()
graph.add_edges_from([("Nara", "Kyoto"), ("Kyoto", "Osaka"), ("Osaka", "Kobe"), ("Kyoto", "Otsu"), ("Otsu", "Nara")])

# %% [markdown]
# ## Who has which images
#
# One list of indices for each node, here with the images in the order of their digits.

# %%
by_digit = np.argsort(labels[train].numpy(), kind="stable")
parts = np.array_split(by_digit, graph.number_of_nodes())
{name: labels[train][part].bincount(minlength=10).tolist() for name, part in zip(graph, parts, strict=True)}

# %% [markdown]
# ## Train
#
# Everything else comes from a `Config`. The module's present parameters are the start of all nodes; the module is
# copied, not changed.

# %%
torch.manual_seed(0)
network = nn.Sequential(nn.Linear(64, 32), nn.Tanh(), nn.Linear(32, 10))
config = Config(strategy="ngpd", training={"rounds": 30, "local_steps": 8})
together = run(config, callbacks=[ProgressBar()], model=network, data=data, graph=graph, partition=parts)
together

# %% [markdown]
# ## What did the exchange bring?
#
# The same network, trained by each office alone, and tested on the same images:

# %%
from copy import deepcopy


def trained_alone(part):
    own = deepcopy(network)
    optimizer = torch.optim.SGD(own.parameters(), lr=0.1)
    draws = np.random.default_rng(0)
    for _ in range(240):  # as many steps as above
        batch = draws.choice(part, 32)
        loss = nn.functional.cross_entropy(own(inputs[train][batch]), labels[train][batch])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return (own(inputs[test]).argmax(1) == labels[test]).float().mean().item()


for name, part, value in zip(graph, parts, together.metrics[-1].nodes, strict=True):
    print(f"{name:6} alone {trained_alone(part):.2f}   with its neighbors {value:.2f}")

# %% [markdown]
# ## Use the trained models
#
# `params` has the parameters of every node, `model` the network to use them with.

# %%
first = deepcopy(network)
first.load_state_dict(together.model.unflatten(together.params[0]))  # the model of Nara
first(inputs[test][:8]).argmax(1), labels[test][:8]

# %% [markdown]
# **Next:** *Devices and faults* (`devices_and_faults.ipynb`). `docs/how-to/own-objects.md` has all forms of data;
# `ngpd-fl new mine` makes a project with such functions and its tests.
