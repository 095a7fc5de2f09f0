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
# # A first study
#
# Eight nodes on a ring train together. Each node has images of 2 of the 10 digits only, sends messages to its two
# neighbors only, and nobody sees another node's data. The notebook runs NGPD, compares it with decentralized SGD
# (DSGD), and makes the comparison fair. It needs no download and takes half a minute.

# %%
# In Google Colab this installs the package; elsewhere it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "ngpd-fl[report]"], check=True)

# %%
from ngpd_fl import Config, ProgressBar, run

config = Config(
    strategy="ngpd",
    data={"dataset": "digits"},
    partition={"name": "classes", "classes_per_node": 2},
    topology={"name": "ring", "nodes": 8},
    training={"rounds": 20},
)

# %% [markdown]
# ## The setting
#
# A result depends on the graph and on the partition of the data. Look at both before you trust a number.

# %%
from ngpd_fl.config import build_topology
from ngpd_fl.report.pictures.graph import graph_figure
from ngpd_fl.report.pictures.partition import count_labels, partition_figure

graph_figure(config, build_topology(config))

# %%
partition_figure(config, *count_labels(config))

# %% [markdown]
# ## One run
#
# `mean` is the mean accuracy of the nodes' own models on test images of all digits; `averaged` is that of the
# mean of their parameters.

# %%
ngpd = run(config, callbacks=[ProgressBar()])
ngpd

# %% [markdown]
# A result is also a picture (`plot`) and a table of pandas (`to_pandas`), with one row for each evaluation.

# %%
ngpd.plot()

# %%
ngpd.to_pandas()[["mean_accuracy", "min_accuracy", "averaged_model_accuracy", "consensus_distance"]].tail(3)

# %% [markdown]
# ## Two algorithms, tuned alike
#
# A default step size that suits one algorithm may hurt another. So give both the same number of trials, choose on
# the **validation** split, and report on the test split with several seeds. `ngpd-fl study` does this for any
# number of algorithms and settings and continues after an interruption; here is the idea in a few lines.

# %%
import pandas as pd

SEARCHED = {"ngpd": (0.05, 0.1, 0.2), "dsgd": (0.05, 0.1, 0.2)}


def trained(strategy, lr, seed, split="test"):
    changes = {"strategy": {"name": strategy, "lr": lr}, "seed": seed, "evaluation": {"split": split, "every": 20}}
    return run(Config(**{**config.model_dump(exclude={"strategy", "seed", "evaluation"}), **changes}))


best = {}
for strategy, rates in SEARCHED.items():
    finals = {lr: trained(strategy, lr, seed=0, split="validation").metrics[-1].mean for lr in rates}
    best[strategy] = max(finals, key=finals.get)
best

# %%
rows = [
    {"strategy": strategy, "seed": seed, "test accuracy": trained(strategy, lr, seed).metrics[-1].mean}
    for strategy, lr in best.items()
    for seed in (1, 2, 3)
]
table = pd.DataFrame(rows).groupby("strategy")["test accuracy"].agg(["mean", "std"])
table

# %% [markdown]
# Trust a difference that is much larger than the spread over the seeds.
#
# **Next:** *Your own model, data and graph* (`own_objects.ipynb`); studies from a file with `ngpd-fl study`; all
# pages in `docs/`.
