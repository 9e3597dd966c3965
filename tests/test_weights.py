import json

import pytest
import torch
from torch import nn

from mtl_lib import weights
from mtl_lib.data.fashion import CorruptDataError

CARD = {"data": "none", "steps": 0, "seed": 1}


def network(seed=0, width=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width), nn.Dropout(0.5))


@pytest.fixture
def stored(tmp_path):
    model = network()
    model(torch.randn(20, 3))  # running statistics that are not those of the start
    weights.save(model, "small", CARD, tmp_path)
    return model, tmp_path


def test_a_loaded_network_answers_as_the_stored_one_rounded_to_half_precision(stored):
    model, folder = stored
    loaded = weights.load(network(seed=9), "small", folder)
    rounded = model.half().float().eval()
    x = torch.randn(5, 3)
    assert torch.equal(loaded(x), rounded(x))


def test_a_loaded_network_is_frozen_and_in_evaluation_mode(stored):
    loaded = weights.load(network(), "small", stored[1])
    assert not any(module.training for module in loaded.modules())
    assert not any(p.requires_grad for p in loaded.parameters())


def test_storing_twice_gives_the_same_bytes(stored):
    model, folder = stored
    first = (folder / "small.pt").read_bytes()
    again = weights.save(model, "other", CARD, folder)
    assert again.read_bytes() == first


def test_the_card_comes_back_with_name_precision_and_checksum(stored):
    card = weights.card("small", stored[1])
    assert CARD.items() <= card.items()
    assert card["name"] == "small"
    assert card["precision"] == "float16"
    assert len(card["sha256"]) == 64
    assert weights.names(stored[1]) == ["small"]


@pytest.mark.parametrize("name", ["small.pt", "small.json"])
@pytest.mark.parametrize("damage", ["truncated", "one byte altered", "missing"])
def test_a_damaged_file_is_detected_and_the_error_says_what_to_do(stored, name, damage):
    path = stored[1] / name
    content = bytearray(path.read_bytes())
    if damage == "truncated":
        path.write_bytes(content[: len(content) // 2])
    elif damage == "missing":
        path.unlink()
    elif name.endswith("pt"):
        content[len(content) // 2] ^= 1
        path.write_bytes(content)
    else:
        path.write_text(json.dumps({**json.loads(content), "sha256": "0" * 64}))
    with pytest.raises(CorruptDataError, match=r"small\.(pt|json).*recipe"):
        weights.load(network(), "small", stored[1])


def test_another_architecture_is_refused(stored):
    with pytest.raises(RuntimeError, match="size mismatch"):
        weights.load(network(width=5), "small", stored[1])


@pytest.mark.parametrize("name", weights.names())
def test_what_travels_with_the_package_is_small_and_says_where_it_comes_from(name):
    card = weights.card(name)
    assert {"model", "purpose", "data", "licence", "steps", "seed", "recipe"} <= set(card)
    assert (weights.FOLDER / f"{name}.pt").stat().st_size < 2_000_000


def test_every_card_has_its_parameters_and_the_reverse():
    files = {path.name for path in weights.FOLDER.iterdir()}
    assert files == {f"{name}.{kind}" for name in weights.names() for kind in ("pt", "json")}
    assert files
