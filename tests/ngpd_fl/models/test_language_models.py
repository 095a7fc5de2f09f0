"""LSTM and transformer against torch's own modules with the same parameters; causality; both engines."""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import grad, vmap
from torch.nn import functional as F

from ngpd_fl import Config, run
from ngpd_fl.config import InputError
from ngpd_fl.config.sections import ModelConfig
from ngpd_fl.models import FlatModel, build_model
from ngpd_fl.models.transformer import TransformerBlock
from ngpd_fl.records import TokenAccuracies
from tests.support.pretend_device import PretendDevice, to_host
from tests.support.sequences import write_speeches

TOKENS, LENGTH = 11, 7
SIZES: dict[str, Any] = {"width": 12, "layers": 2, "embedding": 5, "heads": 3}


def ids(count: int = 4) -> Tensor:
    return torch.randint(TOKENS, (count, LENGTH), generator=torch.Generator().manual_seed(0))


def build(name: str, **sizes: Any) -> FlatModel:
    config = ModelConfig(name=name, **{**SIZES, **sizes})
    return build_model(config, (LENGTH,), TOKENS, 0, torch.float64, ids(3), positions=(LENGTH,))


@pytest.mark.parametrize("layers", [1, 3])
def test_lstm_is_torchs(layers: int) -> None:
    model = build("lstm", layers=layers)
    state = model.state_dict(model.start())
    embedding, head = nn.Embedding(TOKENS, 5), nn.Linear(12, TOKENS)
    torchs = nn.ModuleDict({"embedding": embedding, "lstm": nn.LSTM(5, 12, layers, batch_first=True), "output": head})
    torchs.double().load_state_dict(state)
    expected = head(torchs["lstm"](embedding(ids()))[0])
    torch.testing.assert_close(model(model.start(), ids()), expected)


def test_leafs_lstm_is_the_default() -> None:
    module = build_model(ModelConfig(name="lstm"), (80,), 80, 0, torch.float32, ids(3), positions=(LENGTH,)).module
    shapes = [tuple(parameter.shape) for name, parameter in module.named_parameters() if "weight" in name]
    assert shapes == [(80, 8), (1024, 8), (1024, 256), (1024, 256), (1024, 256), (80, 256)]


def test_a_block_is_torchs() -> None:
    torch.manual_seed(0)
    ours = TransformerBlock(12, 3).double()
    theirs = nn.TransformerEncoderLayer(12, 3, 48, 0.0, F.gelu, batch_first=True, norm_first=True).double()
    names = {
        "attention_norm": "norm1",
        "attention.queries_keys_values": "self_attn.in_proj",
        "attention.output": "self_attn.out_proj",
        "norm": "norm2",
        "wide": "linear1",
        "narrow": "linear2",
    }
    state = {key: torch.randn_like(value) for key, value in ours.state_dict().items()}
    ours.load_state_dict(state)
    renamed = {key: names[key.rpartition(".")[0]] + key[key.rindex(".") :] for key in state}
    theirs.load_state_dict({renamed[key].replace("in_proj.", "in_proj_"): value for key, value in state.items()})
    inputs = torch.randn((4, LENGTH, 12), dtype=torch.float64)
    mask = nn.Transformer.generate_square_subsequent_mask(LENGTH, dtype=torch.float64)
    torch.testing.assert_close(ours(inputs), theirs(inputs, src_mask=mask, is_causal=True))


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_no_position_sees_a_later_one(name: str) -> None:
    model = build(name)
    changed = ids()
    changed[:, 4:] = (changed[:, 4:] + 1) % TOKENS
    before, after = (model(model.start(), tokens) for tokens in (ids(), changed))
    torch.testing.assert_close(before[:, :4], after[:, :4])
    assert ((before[:, 4:] - after[:, 4:]).abs().amax(-1) > 1e-6).all()


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_nodes_at_once_are_nodes_one_by_one(name: str) -> None:
    model = build(name)
    tokens = torch.stack([ids(), ids().flip(0)])
    params = torch.stack([model.start(), 1.1 * model.start()])

    def loss(params: Tensor, tokens: Tensor) -> Tensor:
        return model(params, tokens).square().mean()

    together = vmap(grad(loss))(params, tokens)
    torch.testing.assert_close(
        together, torch.stack([grad(loss)(*of_node) for of_node in zip(params, tokens, strict=True)])
    )


@pytest.mark.parametrize(
    ("name", "strategy"),
    [
        pytest.param(*each, marks=[pytest.mark.slow] * (each != ("lstm", "ngpd")))
        for each in product(("lstm", "transformer"), ("dsgd", "ngpd"))
    ],
)
def test_nodes_learn_the_next_character(name: str, strategy: str, tmp_path: Path) -> None:
    """In every engine the same, up to rounding; more than five rounds, so that the trace replays."""
    write_speeches(tmp_path)
    options = {"lr": 0.5 if name == "lstm" else 0.1, "momentum": 0.9} if strategy == "dsgd" else {}
    settings = Config(
        strategy={"name": strategy, **options},
        data={"dataset": "shakespeare", "data_dir": tmp_path, "sequence_length": LENGTH, "batch_size": 8},
        model={"name": name, **SIZES},
        partition="natural",
        topology={"name": "ring", "nodes": 3},
        training={"rounds": 8, "local_steps": 4},
        engine={"dtype": "float64", "device": "cpu"},
    )
    result = run(settings)
    first, last = result.metrics[0], result.metrics[-1]
    assert isinstance(first, TokenAccuracies) and isinstance(last, TokenAccuracies)
    assert first.mean_perplexity is not None
    assert last.train_loss is not None and last.train_loss < 0.85 * math.log(first.mean_perplexity)
    assert last.mean > first.mean
    on_gpu = settings.model_copy(update={"engine": settings.engine.model_copy(update={"device": "cuda"})})
    with PretendDevice():
        found = run(on_gpu)
    torch.testing.assert_close(to_host(found.params), result.params, rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ({"name": "lstm"}, r"lstm needs sequences of token ids \[T\], but inputs have shape \(1, 8, 8\)"),
        ({"name": "transformer", "heads": 3}, "transformer needs sequences"),
    ],
)
def test_images_are_no_sequences(model: dict[str, Any], words: str) -> None:
    with pytest.raises(InputError, match=words):
        build_model(ModelConfig(**model), (1, 8, 8), 10, 0, torch.float32)


def test_heads_divide_the_width() -> None:
    with pytest.raises(InputError, match=r"model.heads: 5 heads do not divide model.width = 12 evenly"):
        build("transformer", heads=5)


@pytest.mark.parametrize("name", ["lstm", "transformer"])
def test_an_id_beyond_the_classes_is_noticed_before_the_run(name: str) -> None:
    tokens = ids(3)
    tokens[2, 3] = TOKENS
    with pytest.raises(InputError, match=r"fails on token ids of shape \(7,\), up to 11 .*index out of range"):
        build_model(ModelConfig(name=name, **SIZES), (LENGTH,), TOKENS, 0, torch.float64, tokens, positions=(LENGTH,))
