"""Partitions of a data set among the nodes: the forms of the section ``partition``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from ngpd_fl.config.held_object import ObjectSection
from ngpd_fl.config.sections import Section


class NamedPartition(Section):
    """Base of all forms."""

    name: str = Field(
        description="how the training examples are divided among the nodes, e.g. iid, dirichlet, classes, shards; "
        "`ngpd-fl keys partition` lists all",
        json_schema_extra={"flag": "--partition"},
    )


class IIDPartition(NamedPartition):
    """Every node's data are a uniform sample."""

    name: Literal["iid"] = "iid"


class DirichletPartition(NamedPartition):
    """Each class is divided among the nodes by a Dirichlet draw; the smaller alpha, the stronger the label skew."""

    name: Literal["dirichlet"] = "dirichlet"
    alpha: float = Field(0.5, gt=0, description="concentration of each class's shares of the nodes")
    min_size: int = Field(10, ge=1, description="fewest images a node may get; drawn again (10 times) until all do")


class DirichletPriorPartition(NamedPartition):
    """Each node draws its shares of the classes around those of all images, Dir(alpha p); all get equally many images.

    Hsu, Qi, Brown, "Measuring the effects of non-identical data distribution for federated visual classification",
    arXiv 1909.06335, where p is the prior: here the classes' shares of the training examples. With C classes of equal
    size it is ``dirichlet-uniform`` with alpha / C. Works for any alpha; later nodes take what classes are left.
    """

    name: Literal["dirichlet-prior"] = "dirichlet-prior"
    alpha: float = Field(0.5, gt=0, description="concentration, in sum over the classes, of each node's shares of them")


class DirichletUniformPartition(NamedPartition):
    """Each node draws its shares of the classes, all alike beforehand, Dir(alpha); all get equally many images.

    However rare a class is among all images, a node may draw any share of it. Works for any alpha; later nodes take
    what classes are left.
    """

    name: Literal["dirichlet-uniform"] = "dirichlet-uniform"
    alpha: float = Field(0.5, gt=0, description="concentration, of every class, of each node's shares of the classes")


class PathologicalPartition(NamedPartition):
    """Each node holds a fixed number of classes (Li et al., "Federated Learning on Non-IID Data Silos", ICDE 2022)."""

    name: Literal["pathological"] = "pathological"
    classes_per_node: int = Field(2, ge=1, description="classes that a node holds")
    class_assignment_mode: Literal["random", "first-deterministic", "deterministic"] = Field(
        "random",
        description="random: drawn; first-deterministic: node i's first is i mod C, the others are drawn; "
        "deterministic: i, i + 1, ... mod C",
    )


class ClassesPartition(NamedPartition):
    """Node i holds the classes (i n + k) mod C for k < n: neighbors on a ring hold neighboring classes.

    Every class is divided evenly among the nodes that have it.
    """

    name: Literal["classes"] = "classes"
    classes_per_node: int = Field(2, ge=1, description="n, the classes that a node holds")


class ShardsPartition(NamedPartition):
    """The images, sorted by label, are cut into shards, and each node gets some of them (McMahan et al. 2017)."""

    name: Literal["shards"] = "shards"
    shards_per_node: int = Field(2, ge=1, description="shards that a node gets")


class QuantityPartition(NamedPartition):
    """Quantity skew: node i holds a share of the images that grows with i."""

    name: Literal["quantity"] = "quantity"
    growth: Literal["linear", "square", "exponential"] = Field(
        "linear", description="how the share grows with i: linear, square or exponential"
    )


class GivenPartition(NamedPartition):
    """Nothing is drawn: each node has the images of its own folder. Goes with data.dataset = "node-folders" only."""

    name: Literal["given"] = "given"


class NaturalPartition(NamedPartition):
    """Each node has all images of one or several owners, such as writers, speakers or roles: see data.node_column.

    With as many owners as nodes, node i has the i-th owner in the order of their names; else owners are drawn.
    """

    name: Literal["natural"] = "natural"
    owners_per_node: int | None = Field(
        None, ge=1, description="owners that a node gets, the others are left out; unset: all are dealt out"
    )


class IndicesPartition(NamedPartition, ObjectSection):
    """Nothing is drawn: a file lists the training examples of each node, by their indices in the data set as it lies.

    No image is on two nodes, and not all need to be on one. Those that are held out for validation are left out.
    """

    name: Literal["indices"] = "indices"
    file: Path = Field(
        description="a list of indices for each node: .json ([[0, 5], [1, 2, 7], ...]) or .npz (arrays node0, node1, "
        "...)"
    )


PartitionConfig = Annotated[
    IIDPartition
    | DirichletPartition
    | DirichletPriorPartition
    | DirichletUniformPartition
    | PathologicalPartition
    | ClassesPartition
    | ShardsPartition
    | QuantityPartition
    | GivenPartition
    | NaturalPartition
    | IndicesPartition,
    Field(discriminator="name"),
]
