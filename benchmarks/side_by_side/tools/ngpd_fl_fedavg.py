"""ngpd_fl: FedAvg, the baseline with a server, all nodes in one process, a worker on every core."""

from ngpd_fl_dsgd import main

if __name__ == "__main__":
    main("FedAvg", baseline="fedavg")
