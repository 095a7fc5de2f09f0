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
# # From Flower's FedAvg to NGPD
#
# In federated averaging a server sends a model to clients, the clients train, and the server averages. Here no
# place averages all models: every node keeps its own and talks to its neighbors. This notebook runs both on the
# same data, split by a Dirichlet distribution as Flower's `DirichletPartitioner` does it.
#
# `docs/tutorials/from-fedavg.md` has a table of the terms.

# %%
# In Google Colab this installs the package; elsewhere it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "ngpd-fl[report]"], check=True)

# %%
from ngpd_fl import Config, ProgressBar, run

setting = {
    "data": {"dataset": "digits"},
    "partition": {"name": "dirichlet", "alpha": 0.1},
    "topology": {"name": "ring", "nodes": 8},
    "seed": 0,
}

# %% [markdown]
# ## FedAvg, with a server
#
# FedAvg is here as a baseline: every node takes local steps of SGD, then all models are averaged.

# %%
fedavg = run(
    Config(**setting, strategy={"name": "dsgd", "lr": 0.1}, training={"rounds": 40, "baseline": "fedavg"}),
    callbacks=[ProgressBar()],
)

# %% [markdown]
# ## The same local steps, without a server
#
# Decentralized SGD (DSGD) replaces the server's average by one over the two neighbors on the ring. Information
# now takes rounds to travel, and skewed data pull the nodes apart.

# %%
dsgd = run(Config(**setting, strategy={"name": "dsgd", "lr": 0.1}, training={"rounds": 40}), callbacks=[ProgressBar()])

# %% [markdown]
# ## NGPD
#
# NGPD puts a constraint on every edge, that its two ends agree, and takes natural-gradient steps (K-FAC) on the
# resulting problem.

# %%
ngpd = run(Config(**setting, strategy="ngpd", training={"rounds": 40}), callbacks=[ProgressBar()])
ngpd

# %% [markdown]
# ## Side by side

# %%
import pandas as pd

results = {"FedAvg, with a server": fedavg, "DSGD": dsgd, "NGPD": ngpd}
table = pd.DataFrame(
    {
        name: {
            "mean accuracy of the nodes": result.metrics[-1].mean,
            "worst node": result.metrics[-1].worst,
            "averaged model": result.metrics[-1].averaged_model,
            "MB sent": result.metrics[-1].bytes_sent / 1e6,
        }
        for name, result in results.items()
    }
).T
table.round(3)

# %%
import matplotlib.pyplot as plt

from ngpd_fl.report.colors import method_color

for name, result in results.items():
    frame = result.to_pandas()
    plt.plot(frame.index, 100 * frame["mean_accuracy"], color=method_color(result.config.method), label=name)
plt.xlabel("rounds")
plt.ylabel("mean accuracy of the nodes (%)")
_ = plt.legend(frameon=False)

# %% [markdown]
# None of the three is tuned here; `first_study.ipynb` shows how to compare fairly.
#
# ## Your own Flower app
#
# `docs/how-to/flower-app.md` takes the model, the data and the settings of an app in the structure of Flower's
# quickstart, and runs them both ways: `examples/flower_quickstart`.
#
# ## In Flower itself
#
# The same nodes run as Flower clients: `ngpd-fl flower run` takes the flags of `ngpd-fl run`, starts Flower's
# simulation, and writes the same records; the server only relays messages between neighbors. See
# `docs/how-to/flower.md`.
