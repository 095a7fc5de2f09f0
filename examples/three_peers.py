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
# # Three peers on one machine
#
# A *peer* is a process that computes the nodes of one machine and sends messages to its neighbors directly,
# without a server. On your own machines each runs `ngpd-fl peer`; here three of them run on this one. The result
# is that of a simulation.

# %%
# In Google Colab this installs the package; elsewhere it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "ngpd-fl[report]"], check=True)

# %%
import socket
import tempfile
from pathlib import Path

from ngpd_fl import Config, RunFolder, run

folder = Path(tempfile.mkdtemp())
config = Config(
    strategy="ngpd",
    data={"dataset": "digits"},
    partition={"name": "classes", "classes_per_node": 5},
    topology={"name": "ring", "nodes": 3},
    training={"rounds": 15},
)
_ = (folder / "run.toml").write_text(config.to_toml())

# %% [markdown]
# ## Who hosts which node, and where
#
# All peers have the same two files: `run.toml`, and `peers.toml` with addresses. On several machines these are
# their addresses in the network, and `ngpd-fl deploy keys` makes a certificate for each. On one machine,
# `--insecure` does without.

# %%
sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
ports = [listener.getsockname()[1] for listener in sockets]
for listener in sockets:
    listener.close()

peers = "\n".join(
    f'[[peers]]\nname = "{name}"\naddress = "127.0.0.1:{port}"\nnodes = [{node}]\n'
    for node, (name, port) in enumerate(zip(("left", "middle", "right"), ports, strict=True))
)
_ = (folder / "peers.toml").write_text(peers)
print(peers)

# %% [markdown]
# ## Start them, in any order


# %%
def start(name):
    words = ["peer", "run.toml", "--peers", "peers.toml", "--name", name, "--insecure", "--out", name]
    log = (folder / f"{name}.log").open("w")
    return subprocess.Popen([sys.executable, "-m", "ngpd_fl", *words], cwd=folder, stdout=log, stderr=log)


processes = [start(name) for name in ("left", "middle", "right")]
assert [process.wait(timeout=120) for process in processes] == [0, 0, 0]
print((folder / "middle.log").read_text())

# %% [markdown]
# ## Merge their records
#
# Each peer has recorded its own nodes. `gather` makes one run of these records.

# %%
from ngpd_fl.peer.merge import gather

_ = gather([folder / name for name in ("left", "middle", "right")], folder / "all")
merged = RunFolder(folder / "all")
merged

# %% [markdown]
# ## The same as a simulation
#
# One process that computes all three nodes comes to the same accuracies.

# %%
simulated = run(config)
difference = merged.to_pandas()["mean_accuracy"] - simulated.to_pandas()["mean_accuracy"]
print("largest difference in mean accuracy:", difference.abs().max())

# %% [markdown]
# **Next:** `docs/how-to/edge.md`: three bare boards, keys, crashes, slow links, and monitoring with Prometheus.
