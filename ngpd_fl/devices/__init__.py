"""Simulated devices of the nodes: device classes, each node's device, and its costs of computing and sending."""

from ngpd_fl.devices.cost import (
    compute_seconds,
    joules,
    link_seconds,
    relative_cost,
    transfer_seconds,
    uplink_seconds,
)
from ngpd_fl.devices.device import Device, DeviceClass
from ngpd_fl.devices.draws import draw_devices, jitter_seconds, offline_periods
from ngpd_fl.devices.network import DeviceConditions, DeviceCosts
from ngpd_fl.devices.table import SHIPPED, class_toml, read_table

__all__ = [
    "SHIPPED",
    "Device",
    "DeviceClass",
    "DeviceConditions",
    "DeviceCosts",
    "class_toml",
    "compute_seconds",
    "draw_devices",
    "jitter_seconds",
    "joules",
    "link_seconds",
    "offline_periods",
    "read_table",
    "relative_cost",
    "transfer_seconds",
    "uplink_seconds",
]
