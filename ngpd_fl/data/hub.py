"""Data sets of the Hugging Face hub, from a folder or downloaded: ``hf:NAME``.

No data set of the hub runs code here: scripts are not executed, and tables hold values only.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ngpd_fl.config.checks import data_folder
from ngpd_fl.config.errors import InputError
from ngpd_fl.config.extras import require_extra
from ngpd_fl.config.import_paths import HUB, reason
from ngpd_fl.config.sections import DataConfig
from ngpd_fl.config.text_files import require_file
from ngpd_fl.core.isolation import no_warnings
from ngpd_fl.data.custom import raw_of
from ngpd_fl.data.dataset import RawDataset

_SPLITS = ("train", "test")

_LARGEST, _INFLATED = 1 << 30, 64
"""Bytes of a split's table in memory, at least, and for each byte of its files."""

_ROWS = 1024
"""Rows that are read at once."""


def read_hub(config: DataConfig) -> RawDataset:
    """Return a data set of the hub; ``data_dir`` is what ``save_to_disk`` wrote, or holds parquet files.

    Without ``data_dir`` it is downloaded into the library's own cache, if ``download`` allows it.

    Raises:
        InputError: it is not there, cannot be read, or has no such columns.
    """
    require_extra("datasets", f"data.dataset: {config.dataset}")
    folder = data_folder(config)
    if folder is None:
        tables = _download(config.dataset.removeprefix(HUB), config.node_column)
    else:
        tables = _read_folder(folder.resolve())
    return raw_of(config.dataset, tables, config)


def _read_folder(folder: Path) -> dict[str, Any]:
    """Return the tables in a folder by their split; a single one is ``train``."""
    import datasets  # slow to import

    if not folder.is_dir():
        raise InputError(f"data.data_dir: {folder} is no folder")
    try:
        if any((folder / name).is_file() for name in ("dataset_dict.json", "state.json")):
            saved = datasets.load_from_disk(str(folder))
            tables = dict(saved) if isinstance(saved, datasets.DatasetDict) else {"train": saved}
            for table in tables.values():
                table.data.validate(full=True)  # with offsets that lead out of its memory it would crash the process
            return tables
        files = sorted(path for path in folder.rglob("*.parquet") if not path.is_dir())
        if not files:
            raise InputError(f"data.data_dir: {folder} holds neither what save_to_disk writes nor .parquet files")
        by_split = {split: [path for path in files if _is_of(path, folder, split)] for split in _SPLITS}
        if not by_split["train"]:
            by_split = {"train": files}
        return {split: _read_parquet(paths) for split, paths in by_split.items() if paths}
    except InputError:
        raise
    except Exception as error:  # a damaged file can fail anywhere in the libraries
        raise InputError(f"data.data_dir: {folder} cannot be read ({reason(error)})") from error


def _is_of(path: Path, folder: Path, split: str) -> bool:
    """Return whether a file is of a split by its own name, or by that of a folder that it lies in."""
    return any(part == split or part.startswith((f"{split}-", f"{split}.")) for part in path.relative_to(folder).parts)


def _read_parquet(paths: Sequence[Path]) -> Any:
    """Return the table in files, piece by piece: a value that is repeated takes next to nothing in them."""
    import datasets
    import pyarrow as pa
    from pyarrow import parquet

    most = max(_LARGEST, _INFLATED * sum(path.stat().st_size for path in paths))
    tables, size = [], 0
    for path in paths:
        require_file(path)
        with parquet.ParquetFile(path) as file:
            pieces = []
            schema = pa.schema([_decoded(field) for field in file.schema_arrow], file.schema_arrow.metadata)
            for piece in map(partial(pa.RecordBatch.cast, target_schema=schema), file.iter_batches(_ROWS)):
                size += piece.nbytes
                if size > most:
                    raise InputError(f"data.data_dir: {path}: its tables are larger than {most >> 20} MiB")
                pieces.append(piece)
            tables.append(pa.Table.from_batches(pieces, schema))
    # by a fingerprint of its own making the library would write the whole table out in memory, many times its size
    return datasets.Dataset(pa.concat_tables(tables), fingerprint="0")


def _decoded(field: Any) -> Any:
    """Return a column with its values in place of their numbers in a dictionary, which hide its size."""
    from pyarrow import types

    return field.with_type(field.type.value_type) if types.is_dictionary(field.type) else field


def _download(name: str, node_column: str | None) -> dict[str, Any]:
    """Return the splits of a data set of the hub."""
    from flwr_datasets import FederatedDataset
    from flwr_datasets.common import telemetry
    from flwr_datasets.partitioner import IidPartitioner, NaturalIdPartitioner

    telemetry.FLWR_TELEMETRY_ENABLED = "0"  # as of all that Flower runs here: nobody is told what was downloaded
    partitioner = IidPartitioner(1) if node_column is None else NaturalIdPartitioner(node_column)
    hub = FederatedDataset(dataset=name, partitioners={"train": partitioner}, shuffle=False)
    tables = {}
    for split in _SPLITS:
        try:
            with no_warnings():  # of data sets that Flower has not tried
                tables[split] = hub.load_split(split)
        except Exception as error:  # of the network, the hub, or a file
            if split == "train":
                raise InputError(f"data.dataset: {HUB}{name} cannot be downloaded ({reason(error)})") from error
    return tables
