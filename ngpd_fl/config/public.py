"""The public names of ``ngpd_fl.config``."""

from ngpd_fl.config.config import Config, build_topology, parse_assignments, put_over
from ngpd_fl.config.devices import DevicesConfig
from ngpd_fl.config.errors import InputError, choices, one_line, suggestion
from ngpd_fl.config.faults import Byzantine, Corrupt, Cut, FaultsConfig
from ngpd_fl.config.keys import all_fields, all_keys
from ngpd_fl.config.objects import with_objects, with_recorded_objects
from ngpd_fl.config.partitions import (
    ClassesPartition,
    DirichletPartition,
    GivenPartition,
    IIDPartition,
    IndicesPartition,
    NaturalPartition,
    PartitionConfig,
    PathologicalPartition,
    QuantityPartition,
    ShardsPartition,
)
from ngpd_fl.config.renamed import require_current, translated, translated_plan
from ngpd_fl.config.sections import (
    DEFAULT_NAMES,
    DataConfig,
    EngineConfig,
    EvaluationConfig,
    ModelConfig,
    NetworkConfig,
    Section,
    TrainingConfig,
)
from ngpd_fl.config.text_files import (
    conforming,
    expanded,
    parse_json,
    parse_toml,
    parse_value,
    read_json,
    read_json_lines,
    read_record,
    read_text,
    read_toml,
)
from ngpd_fl.config.trust import require_trust

__all__ = [
    "DEFAULT_NAMES",
    "Byzantine",
    "ClassesPartition",
    "Config",
    "Corrupt",
    "Cut",
    "DataConfig",
    "DevicesConfig",
    "DirichletPartition",
    "EngineConfig",
    "EvaluationConfig",
    "FaultsConfig",
    "GivenPartition",
    "IIDPartition",
    "IndicesPartition",
    "InputError",
    "ModelConfig",
    "NaturalPartition",
    "NetworkConfig",
    "PartitionConfig",
    "PathologicalPartition",
    "QuantityPartition",
    "Section",
    "ShardsPartition",
    "TrainingConfig",
    "all_fields",
    "all_keys",
    "build_topology",
    "choices",
    "conforming",
    "expanded",
    "one_line",
    "parse_assignments",
    "parse_json",
    "parse_toml",
    "parse_value",
    "put_over",
    "read_json",
    "read_json_lines",
    "read_record",
    "read_text",
    "read_toml",
    "require_current",
    "require_trust",
    "suggestion",
    "translated",
    "translated_plan",
    "with_objects",
    "with_recorded_objects",
]
