import pytest
import torch
from torch import nn
from torch.nn import functional

from mtl_lib.networks import (
    ConditionalNorm,
    ConditionalSharing,
    FiLM,
    ImageHead,
    StyledDecoder,
    count_parameters,
)


def random_norm(channels=16, conditions=3, **kwargs):
    torch.manual_seed(0)
    norm = ConditionalNorm(channels, conditions, **kwargs)
    for parameter in norm.parameters():
        nn.init.normal_(parameter)
    return norm


@pytest.fixture
def maps():
    torch.manual_seed(1)
    return 3 * torch.randn(4, 16, 5, 6) + 1


@pytest.mark.parametrize("groups", [1, 8, 16])
@pytest.mark.parametrize("condition", [1, torch.tensor([1, 1, 1, 1])], ids=["number", "indices"])
def test_every_condition_is_a_group_normalisation_of_its_own(maps, groups, condition):
    norm, oracle = random_norm(groups=groups), nn.GroupNorm(groups, 16)
    oracle.load_state_dict({"weight": norm.scale[1], "bias": norm.shift[1]})
    # Another order of the same sums: rounding of single precision.
    torch.testing.assert_close(norm(maps, condition), oracle(maps), atol=1e-5, rtol=1e-5)


def test_with_a_group_a_channel_it_is_instance_normalisation(maps):
    norm = ConditionalNorm(16, 2, groups=16)
    torch.testing.assert_close(norm(maps, 0), functional.instance_norm(maps))


def test_all_conditions_start_as_plain_normalisation(maps):
    norm = ConditionalNorm(16, 3)
    for condition in range(3):
        torch.testing.assert_close(norm(maps, condition), functional.group_norm(maps, 8))


def test_a_batch_may_mix_conditions(maps):
    norm = random_norm()
    condition = torch.tensor([2, 0, 0, 1])
    mixed = norm(maps, condition)
    for image, index, expected in zip(maps, condition, mixed, strict=True):
        torch.testing.assert_close(norm(image[None], int(index))[0], expected)


@pytest.mark.parametrize("condition", [2, torch.full((4,), 2)], ids=["number", "indices"])
def test_only_the_condition_in_use_is_learned(maps, condition):
    norm = random_norm()
    norm(maps, condition).square().sum().backward()
    moved = {p for p in norm.parameters() if p.grad is not None and p.grad.abs().sum() > 0}
    assert moved == set(norm.condition_parameters(2))


def test_a_new_condition_starts_at_the_mean_and_leaves_the_others_as_they_are(maps):
    norm = random_norm(conditions=2)
    before = [norm(maps, i) for i in range(2)]
    norm.add_condition()
    assert all(torch.equal(norm(maps, i), before[i]) for i in range(2))
    torch.testing.assert_close(norm(maps, 2), (before[0] + before[1]) / 2, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    "condition", [torch.tensor([0, 1]), torch.zeros(4), torch.zeros(4, 1, dtype=torch.int64)]
)
def test_conditions_that_are_not_one_index_an_image_are_refused(maps, condition):
    with pytest.raises(ValueError, match=r"wanted \(4,\) int64"):
        random_norm()(maps, condition)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConditionalNorm(12, 2), "channels is 12, wanted a multiple of 8"),
        (lambda: ConditionalNorm(16, 0), "conditions is 0, wanted at least 1"),
        (lambda: ConditionalSharing([nn.Linear(1, 1)], {}), "one module for each task"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_film_starts_as_the_identity_for_every_vector(maps):
    assert torch.equal(FiLM(16, 3)(maps, torch.randn(4, 3)), maps)


def test_film_scales_and_shifts_each_channel_by_what_the_vector_says(maps):
    film, c = FiLM(16, 3), torch.randn(4, 3)
    nn.init.normal_(film.affine.weight)
    nn.init.normal_(film.affine.bias)
    values = c @ film.affine.weight.T + film.affine.bias
    for i in range(4):
        for channel in range(16):
            expected = (1 + values[i, channel]) * maps[i, channel] + values[i, 16 + channel]
            torch.testing.assert_close(film(maps, c)[i, channel], expected)


def test_film_of_an_indicator_after_normalisation_is_conditional_normalisation(maps):
    norm, film, condition = random_norm(), FiLM(16, 3), torch.tensor([2, 0, 0, 1])
    with torch.no_grad():
        scales, shifts = (torch.stack([*rows], dim=1) for rows in (norm.scale, norm.shift))
        film.affine.weight.copy_(torch.cat([scales - 1, shifts]))
    same = film(functional.group_norm(maps, 8), functional.one_hot(condition, 3).float())
    torch.testing.assert_close(same, norm(maps, condition), atol=1e-5, rtol=1e-5)


def test_a_head_that_all_tasks_have_is_shared():
    head = nn.Linear(8, 1)
    network = ConditionalSharing([ConditionalNorm(8, 2)], {"a": head, "b": head})
    assert set(head.parameters()) <= set(network.shared_parameters())
    assert set(network.task_parameters("a")) == set(network.trunk[0].condition_parameters(0))


def styled(styles=("day", "night")):
    torch.manual_seed(0)
    return StyledDecoder(5, styles, 3, size=16)


def test_a_style_owns_a_scale_and_a_shift_for_each_channel_of_the_maps():
    networks = [styled("ab"), styled("abc")]
    width = 16
    difference = count_parameters(networks[1]) - count_parameters(networks[0])
    assert difference == 2 * (2 * width + width)
    assert sum(p.numel() for p in networks[0].task_parameters("a")) == difference


def test_a_new_style_is_learned_by_its_own_parameters_and_no_other_image_changes():
    network, x = styled(), torch.rand(6, 5)
    before = {style: y.detach() for style, y in network(x).items()}
    network.add_style("dusk")
    batch = {"x": x, "dusk": torch.rand(6, 3, 16, 16)}
    adam = torch.optim.Adam(network.task_parameters("dusk"), lr=0.05)
    history = []
    for _ in range(20):
        (loss,) = network.losses(batch).values()
        network.zero_grad()
        loss.backward()
        adam.step()
        history.append(loss.item())
    assert history[-1] < history[0]
    assert all(torch.equal(network(x)[style], y) for style, y in before.items())


def test_losses_are_those_of_the_styles_that_the_batch_has():
    network, x, images = styled(), torch.rand(2, 5), torch.rand(2, 3, 16, 16)
    losses = network.losses({"x": x, "night": images})
    assert list(losses) == ["night"]
    torch.testing.assert_close(losses["night"], (network(x)["night"] - images).square().mean())


def test_one_head_draws_all_styles():
    heads = {module for module in styled().modules() if isinstance(module, ImageHead)}
    assert len(heads) == 1


def test_a_style_that_exists_is_not_added_again():
    with pytest.raises(ValueError, match="style 'day' exists: choose another name"):
        styled().add_style("day")
