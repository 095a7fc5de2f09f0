# ---
# jupyter:
#   jupytext:
#     formats: ipynb,py:percent
#     text_representation:
#       extension: .py
#       format_name: percent
#       format_version: '1.3'
#       jupytext_version: 1.19.6
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Devices and faults
#
# A Raspberry Pi takes eleven times as long for a step as a Jetson TX2, a phone goes offline, a link drops
# messages. A *virtual clock* adds up declared times, so that you can study all this on a laptop, and the same
# configuration gives the same times on any machine.

# %%
# In Google Colab this installs the package; elsewhere it does nothing.
import subprocess
import sys

if "google.colab" in sys.modules:
    subprocess.run([sys.executable, "-m", "pip", "install", "--quiet", "ngpd-fl[report]"], check=True)

# %%
from ngpd_fl import Config, run

fleet = {
    "data": {"dataset": "digits"},
    "partition": {"name": "classes", "classes_per_node": 4},
    "topology": {"name": "ring", "nodes": 8},
    "strategy": "ngpd",
    "devices": {
        "classes": ["jetson-tx2"] * 4 + ["jetson-nano"] * 3 + ["raspberry-pi-4"],
        "seconds_per_step": 0.02,
        "step_sigma": 0.2,
    },
}

# %% [markdown]
# ## Wait for the slowest, or not
#
# `neighbor-synchronous`: a node waits for the messages of its neighbors. `asynchronous`: it takes the newest that
# it has, and does four times as many rounds here.

# %%
import tempfile
from pathlib import Path

records = Path(tempfile.mkdtemp())
waiting = run(
    Config(**fleet, training={"rounds": 20, "mode": "neighbor-synchronous"}), records / "waiting", event_log=True
)
eager = run(Config(**fleet, training={"rounds": 80, "mode": "asynchronous"}), records / "eager", event_log=True)

# %%
import matplotlib.pyplot as plt


def draw(results):
    for name, result in results.items():
        frame = result.to_pandas()
        plt.plot(frame["virtual_seconds"], 100 * frame["mean_accuracy"], label=name)
    plt.xlabel("virtual time (s)")
    plt.ylabel("mean accuracy of the nodes (%)")
    _ = plt.legend(frameon=False)


draw({"neighbor-synchronous": waiting, "asynchronous": eager})

# %% [markdown]
# The timeline shows the difference: one Raspberry Pi makes its neighbors wait, and they theirs.

# %%
from ngpd_fl.report.node_timelines import logged_timelines
from ngpd_fl.report.pictures.timeline import timeline_figure


def timeline(result, folder):
    graph = result.config.topology.build(result.config.seed)
    return timeline_figure(result.config, logged_timelines(folder / "events.jsonl", graph))


timeline(waiting, records / "waiting")

# %%
timeline(eager, records / "eager")

# %% [markdown]
# ## Nodes leave, links fail
#
# Node 5 is away for 30 seconds, the network falls into two parts for 20 seconds, and every tenth message comes
# late.

# %%
faults = {
    "leave": [{"node": 5, "at_s": 10.0, "until_s": 40.0}],
    "cut": [{"groups": [[0, 1, 2, 3]], "at_s": 20.0, "until_s": 40.0}],
    "delay_probability": 0.1,
    "delay_s": 2.0,
}
training = {"rounds": 80, "mode": "asynchronous"}
faulty = run(Config(**fleet, faults=faults, training=training), records / "faulty", event_log=True)
faulty

# %%
timeline(faulty, records / "faulty")

# %%
draw({"without faults": eager, "with faults": faulty})

# %% [markdown]
# Message counts are in the summary; `events.jsonl` repeats the run exactly (`devices.replay`).

# %%
{key: faulty.summary["clock"][key] for key in ("messages_sent", "messages_taken", "messages_dropped")}

# %% [markdown]
# **Next:** `docs/how-to/devices.md` has all classes of devices and where their numbers come from;
# `docs/how-to/faults.md` has the effect of each fault on each algorithm.
