"""Metrics of an evaluation, as in the lines of ``metrics.jsonl``, and their measures: accuracy or error."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from ngpd_fl.config import one_line, parse_json
from ngpd_fl.records.shapes import Amount, Count, Share


class Measure(NamedTuple):
    """A quantity, its direction, and its notation.

    Attributes:
        key: its key in records, e.g. in ``mean_accuracy``.
        name: its name in text, also at the beginning of a title.
        short: its name in the head of a column.
        label: label of an axis, with the unit.
        group: name of a group of examples: splits divide by it, and records have a value for each.
        groups: the plural of ``group``.
        examples: name of the training examples, in the plural.
        higher_is_better: whether a higher value is better.
        factor: factor from the recorded number to the displayed one.
        form: format specification of the displayed number, for ``format``.
        unit: text after the displayed number.
    """

    key: str
    name: str
    short: str
    label: str
    group: str
    groups: str
    examples: str
    higher_is_better: bool
    factor: float
    form: str
    unit: str

    @property
    def is_share(self) -> bool:
        """Whether its values lie in [0, 1] and are shown in percent."""
        return self.factor == 100

    @property
    def worst(self) -> str:
        """Direction of the worst value: ``"min"`` or ``"max"``."""
        return "min" if self.higher_is_better else "max"

    def rank(self, value: float) -> float:
        """Return a number that increases with the quality of ``value``; lowest for a value that is not finite."""
        if not math.isfinite(value):
            return -math.inf
        return value if self.higher_is_better else -value

    def text(self, value: float) -> str:
        """Return a value as text: an accuracy of 0.9234 as ``92.3 %``, an error of 54.148 as ``54.15``."""
        return f"{self.factor * value:{self.form}}{self.unit}" if math.isfinite(value) else "not finite"


ACCURACY = Measure("accuracy", "accuracy", "acc.", "accuracy (%)", "class", "classes", "images", True, 100, ".1f", " %")
"""Share of examples whose class is recognized, in [0, 1]."""

TOKEN_ACCURACY = ACCURACY._replace(name="token accuracy", label="token accuracy (%)", examples="tokens")
"""Share of positions whose token is recognized, in [0, 1]; padding does not count."""

HAMMING_ACCURACY = ACCURACY._replace(name="Hamming accuracy", label="Hamming accuracy (%)", examples="labels")
"""Share of labels that are recognized, in [0, 1]: 1 - Hamming loss."""

EXACT_MATCH = ACCURACY._replace(key="exact_match", name="exact match", short="exact", label="exact match (%)")
"""Share of examples whose labels are all recognized ("subset accuracy")."""

PERPLEXITY = Measure(
    *("perplexity", "perplexity", "perpl.", "perplexity", "class", "classes", "tokens"), False, 1, "#.4g", ""
)
"""exp of the mean cross-entropy of a token, in nats."""

RMSE = Measure("rmse", "RMSE", "RMSE", "RMSE (unit of the targets)", "bin", "bins", "examples", False, 1, "#.4g", "")
"""Root mean square error in the unit of the targets; the mean over the targets if there are several."""


R2 = Measure("r2", "R2", "R2", "R2", "bin", "bins", "examples", True, 1, ".3f", "")
"""Share of the targets' variance that is explained; the mean over the targets if there are several."""


class MeasureValues(NamedTuple):
    """Values of one measure in an evaluation; nan for null.

    Attributes:
        mean: of the nodes' own models.
        worst: of the worst node.
        best: of the best node.
        averaged_model: of the mean of all parameters.
    """

    mean: float
    worst: float
    best: float
    averaged_model: float


class Metrics(BaseModel):
    """One evaluation by any measure. A value that is not finite is recorded as null.

    The subclasses ``Accuracies`` and ``Errors`` have the values of the measure in fields named after ``measure.key``.
    The properties give these values for both subclasses alike, with nan for null.

    Attributes:
        round: rounds done; 0 is the common start.
        node_steps: local steps done, summed over the nodes.
        train_seconds: time spent in rounds so far; evaluation is not counted.
        virtual_seconds: time on the virtual clock; null if the run has none.
        joules: energy that all nodes have used so far; null if it is unknown for any node.
        bytes_sent: payload of all messages so far, lost ones included.
        train_loss: mean over nodes and local steps since the last evaluation.
        trust_shrink: mean factor of the trust region since the last evaluation; 1 if no step was shortened.
        consensus_distance: root mean square over nodes of |w_i - mean w|.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: ClassVar[Measure]
    others: ClassVar[tuple[Measure, ...]] = ()
    """Further measures, of which the mean, the value of each node and that of the averaged model are recorded."""

    round: Count
    node_steps: Count
    train_seconds: Amount
    virtual_seconds: Amount | None = None
    joules: Amount | None = None
    bytes_sent: Count
    train_loss: float | None
    trust_shrink: float | None
    consensus_distance: float | None

    @model_validator(mode="before")
    @classmethod
    def _finite_or_null(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values  # pydantic says what is wrong
        return {key: null_if_not_finite(value) for key, value in values.items()}

    @model_validator(mode="after")
    def _lists_are_alike(self) -> Metrics:
        """Require that all lists by node have the same length, and all lists by group too."""
        lists = [(self.measure.group in name.split("_"), len(value)) for name, value in self if isinstance(value, list)]
        if len(set(lists)) != len({of_groups for of_groups, _ in lists}):
            raise ValueError("its lists are not of the same nodes or groups")
        return self

    def reaches(self, accuracy: float | None) -> bool:
        """Return whether the nodes' mean accuracy is at least ``accuracy``; False if that is None."""
        return accuracy is not None and self.measure.is_share and self.mean >= accuracy

    @property
    def mean(self) -> float:
        """Mean value of the nodes' own models."""
        return self._value("mean_")

    @property
    def worst(self) -> float:
        """Value of the worst node."""
        return self._value(f"{self.measure.worst}_")

    @property
    def best(self) -> float:
        """Value of the best node."""
        return self._value("max_" if self.measure.worst == "min" else "min_")

    @property
    def mean_own(self) -> float:
        """Mean value of the nodes' own models on examples distributed as their own."""
        return self._value("mean_own_")

    @property
    def averaged_model(self) -> float:
        """Value of the mean of all parameters."""
        return self._value("averaged_model_")

    @property
    def has_average(self) -> bool:
        """Whether the parameters have met in one place, so that their mean was evaluated."""
        return getattr(self, f"averaged_model_{self.measure.group}_{self.measure.key}") is not None

    @property
    def nodes(self) -> list[float]:
        """Value of each node."""
        return [_nan_if_null(value) for value in getattr(self, self.measure.key)]

    def values(self, measure: Measure) -> MeasureValues:
        """Return the values of the evaluation's measure, or of one of ``others``."""
        if measure is self.measure:
            return MeasureValues(self.mean, self.worst, self.best, self.averaged_model)
        mean, averaged, nodes = (getattr(self, f"{prefix}{measure.key}") for prefix in ("mean_", "averaged_model_", ""))
        ranked = sorted(map(_nan_if_null, nodes), key=measure.rank)
        return MeasureValues(_nan_if_null(mean), ranked[0], ranked[-1], _nan_if_null(averaged))

    def _value(self, prefix: str) -> float:
        return _nan_if_null(getattr(self, prefix + self.measure.key))


class Accuracies(Metrics):
    """One evaluation of classifiers. Accuracies are in [0, 1].

    Models are evaluated on common images or, if the summary's ``evaluated_on`` is ``"own"``, each on its node's own.

    Attributes:
        mean_accuracy: of the nodes' own models.
        min_accuracy: of the worst node.
        max_accuracy: of the best node.
        mean_own_accuracy: of the nodes' own models on images distributed as their own.
        averaged_model_accuracy: of the mean of all parameters, mean over nodes if each has its own images to evaluate
            on; null if the parameters never meet in one place.
        accuracy: per node; null for a node that did not answer.
        own_accuracy: per node.
        class_accuracy: per class, mean over the nodes that evaluate on images of it.
        averaged_model_class_accuracy: per class.
    """

    measure = ACCURACY

    mean_accuracy: Share
    min_accuracy: Share
    max_accuracy: Share
    mean_own_accuracy: Share
    averaged_model_accuracy: Share | None
    accuracy: list[Share | None]
    own_accuracy: list[Share | None]
    class_accuracy: list[Share | None]
    averaged_model_class_accuracy: list[Share | None] | None


class TokenAccuracies(Accuracies):
    """One evaluation of networks that predict a token at each position; accuracies are those of ``Accuracies``.

    Attributes:
        mean_perplexity: of the nodes' own models.
        averaged_model_perplexity: of the mean of all parameters.
        perplexity: per node.
    """

    measure = TOKEN_ACCURACY
    others = (PERPLEXITY,)

    mean_perplexity: float | None
    averaged_model_perplexity: float | None
    perplexity: list[float | None]


class MultiLabelAccuracies(Accuracies):
    """One evaluation of multi-label classifiers; accuracies, of single labels, are those of ``Accuracies``.

    Attributes:
        mean_exact_match: share of the examples whose labels are all right, mean over nodes.
        averaged_model_exact_match: of the mean of all parameters.
        exact_match: per node.
    """

    measure = HAMMING_ACCURACY
    others = (EXACT_MATCH,)

    mean_exact_match: Share | None
    averaged_model_exact_match: Share | None
    exact_match: list[Share | None]


class Errors(Metrics):
    """One evaluation of networks that predict real-valued targets: root mean square errors, in the targets' unit.

    With several targets, errors and R2 are means over the targets.

    Attributes:
        mean_rmse: of the nodes' own models, evaluated as in ``Accuracies``.
        min_rmse: of the best node.
        max_rmse: of the worst node.
        mean_own_rmse: of the nodes' own models on examples whose targets are distributed as their own.
        averaged_model_rmse: of the mean of all parameters.
        rmse: per node.
        own_rmse: per node.
        bin_rmse: per quantile bin of the targets, mean over nodes.
        averaged_model_bin_rmse: per bin.
        mean_r2: R2, the share of the targets' variance that is explained, mean over nodes.
        averaged_model_r2: of the mean of all parameters.
        r2: per node.
    """

    measure = RMSE
    others = (R2,)

    mean_rmse: float | None
    min_rmse: float | None
    max_rmse: float | None
    mean_own_rmse: float | None
    averaged_model_rmse: float | None
    rmse: list[float | None]
    own_rmse: list[float | None]
    bin_rmse: list[float | None]
    averaged_model_bin_rmse: list[float | None] | None
    mean_r2: float | None
    averaged_model_r2: float | None
    r2: list[float | None]


METRICS: dict[Measure, type[Metrics]] = {
    kind.measure: kind for kind in (TokenAccuracies, MultiLabelAccuracies, Accuracies, Errors)
}
"""Classes of evaluations by measure; where one has all fields of another, it comes first."""

MEASURES: dict[str, Measure] = {measure.name: measure for measure in METRICS}
"""Measures by name."""


def figure_measure(figure: str) -> Measure:
    """Return the measure, ``ACCURACY`` for an accuracy of any kind, of a final figure such as ``mean_accuracy``."""
    return {measure.key: measure for measure in (ACCURACY, RMSE)}[figure.rpartition("_")[2]]


def parse_metrics(line: str) -> Metrics:
    """Return the evaluation in a line of ``metrics.jsonl``; raise ``ValueError`` if it is damaged."""
    return metrics_of(parse_json(line))


def metrics_of(values: Any) -> Metrics:
    """Return an evaluation from the values of a line; raise ``ValueError`` if they are no evaluation."""
    keys = values.keys() if isinstance(values, dict) else ()
    kind = next((kind for kind in METRICS.values() if all(m.key in keys for m in (kind.measure, *kind.others))), None)
    if kind is None:
        raise ValueError("not an evaluation")
    try:
        return kind.model_validate(values, strict=True)
    except ValidationError as error:
        raise ValueError(one_line(error, kind)) from error


def null_if_not_finite(value: Any) -> Any:
    """Return a value, or a list, with None for numbers that are not finite, as it is recorded."""
    if isinstance(value, list):
        return [null_if_not_finite(entry) for entry in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _nan_if_null(value: float | None) -> float:
    return math.nan if value is None else value
