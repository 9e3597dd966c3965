import copy
import math

import pytest
import torch
from torch import nn
from torch.nn import functional

from mtl_lib.balancing import Fixed
from mtl_lib.networks import (
    GAN,
    AdversarialDiscriminator,
    AdversarialGenerator,
    LastLayerWeight,
    rotated,
)
from mtl_lib.training import fit

TASKS = ["class", "rotation"]


def make(tasks=TASKS, seed=0):
    torch.manual_seed(seed)
    generator = AdversarialGenerator(1, 10, size=16, width=8, noise=6)
    judge = AdversarialDiscriminator(1, 10, size=16, tasks=tasks, width=8, code=12)
    return GAN(generator, judge)


@pytest.fixture
def batch():
    torch.manual_seed(1)
    return {"images": torch.rand(12, 1, 16, 16), "labels": torch.arange(12) % 10}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 28])
def test_a_generator_draws_images_of_its_size_in_the_unit_interval(channels, size):
    images = AdversarialGenerator(channels, 10, size=size).draw(torch.arange(5))
    assert images.shape == (5, channels, size, size)
    assert ((images > 0) & (images < 1)).all()
    assert not images.requires_grad


def test_what_is_drawn_depends_on_the_seed_and_on_the_class():
    generator, labels = make().generator, torch.arange(5)
    nn.init.normal_(generator.coarse.shift[0])
    assert torch.equal(generator.draw(labels, seed=3), generator.draw(labels, seed=3))
    assert not torch.equal(generator.draw(labels, seed=3), generator.draw(labels, seed=4))
    zeros, ones = (generator.draw(torch.full((5,), k), seed=3) for k in (0, 1))
    assert not torch.allclose(zeros, ones)


def test_drawing_leaves_the_global_random_state_alone():
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    make().generator.draw(torch.arange(2))
    torch.manual_seed(0)
    assert torch.equal(torch.rand(3), expected)


def test_layers_of_the_discriminator_have_a_largest_singular_value_of_one(batch):
    judge = make().discriminator
    for _ in range(300):  # the power iteration converges
        judge.real(judge.trunk(batch["images"]), batch["labels"])
    judge.eval()
    layers = [layer for layer in judge.trunk if hasattr(layer, "weight")]
    for layer in [*layers, judge.score, judge.classes]:
        largest = torch.linalg.matrix_norm(layer.weight.flatten(1), ord=2)
        assert largest.item() == pytest.approx(1, abs=1e-3)


def test_the_score_is_a_projection_on_the_class():
    judge = make().discriminator.eval()
    h, labels = torch.randn(4, 12), torch.tensor([3, 1, 3, 9])
    e, w = judge.classes.weight, judge.score.weight[0]
    by_hand = [h[i] @ (w + e[labels[i]]) + judge.score.bias[0] for i in range(4)]
    torch.testing.assert_close(judge.real(h, labels), torch.stack(by_hand))


def fixed_scores(gan, real, fake):
    """Let the discriminator answer with these scores, in the order in which it is asked."""
    answers = iter([torch.tensor(real), torch.tensor(fake)])
    gan.discriminator.real = lambda features, labels: next(answers)


def test_the_discriminator_loses_by_two_hinges(batch):
    gan = make([])
    fixed_scores(gan, [2.0, 0.5, -1.0], [-3.0, -0.5, 1.0])
    images, labels = batch["images"][:3], batch["labels"][:3]
    losses = gan.discriminator_losses(images, labels, images, labels)
    # Beyond its side a score costs nothing: (0 + 0.5 + 2) / 3 and (0 + 0.5 + 2) / 3.
    assert losses["D real"].item() == pytest.approx(2 * 2.5 / 3)


def test_the_generator_wants_high_scores(batch):
    gan = make([])
    fixed_scores(gan, [2.0, 0.5, -1.0], [])
    losses = gan.generator_losses(batch["images"][:3], batch["labels"][:3])
    assert losses["G real"].item() == pytest.approx(-0.5)


@pytest.mark.parametrize("tasks", [[], ["class"], ["rotation"], TASKS])
def test_both_players_have_a_loss_for_every_task(tasks, batch):
    names = ["real", *tasks]
    assert list(make(tasks).losses(batch)) == [f"{p} {task}" for p in "DG" for task in names]


def test_a_discriminator_that_knows_nothing_guesses_among_the_answers(batch):
    gan = make()
    for head in gan.discriminator.heads.values():
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    losses = gan.losses(batch)
    for player in "DG":
        assert losses[f"{player} class"].item() == pytest.approx(math.log(10))
        assert losses[f"{player} rotation"].item() == pytest.approx(math.log(4))


def test_no_player_moves_the_other(batch):
    gan = make()
    players = {"D": gan.discriminator, "G": gan.generator}
    for name, loss in gan.losses(batch).items():
        gan.zero_grad()
        loss.backward(retain_graph=True)
        for player, network in players.items():
            moved = any(p.grad is not None and p.grad.abs().sum() > 0 for p in network.parameters())
            assert moved == (player == name[0]), name


def test_the_discriminator_can_learn_again_after_the_generator_looked_at_it(batch):
    gan = make()
    gan.losses(batch)
    assert all(p.requires_grad for p in gan.discriminator.parameters())


def test_a_gradient_through_the_discriminator_is_that_of_its_free_parameters(batch):
    gan = make(["class"]).eval()  # no power iteration in between
    fakes, wanted = batch["images"].clone().requires_grad_(), batch["labels"]
    (ours,) = torch.autograd.grad(sum(gan.generator_losses(fakes, wanted).values()), fakes)
    judge = gan.discriminator
    features = judge.trunk(fakes)
    loss = functional.cross_entropy(judge.heads["class"](features), wanted)
    (expected,) = torch.autograd.grad(loss - judge.real(features, wanted).mean(), fakes)
    torch.testing.assert_close(ours, expected)


def test_the_average_is_an_exponential_mean_of_the_steps(batch):
    gan = make()
    adam, seen = gan.adam(), []
    for _ in range(4):
        sum(gan.losses(batch).values()).backward()
        adam.step()
        seen.append(copy.deepcopy(gan.generator.head[0].weight.detach()))
    mean = seen[0]
    for weight in seen[1:]:
        mean = 0.95 * mean + 0.05 * weight
    torch.testing.assert_close(gan.average.head[0].weight, mean)


def test_the_ratio_is_that_of_the_learning_rates():
    gan = make()
    generator, judge = gan.adam(0.01, ratio=5.0).param_groups
    assert (generator["lr"], judge["lr"]) == (0.01, 0.05)
    assert generator["params"] == [*gan.generator.parameters()]
    assert judge["params"] == [*gan.discriminator.parameters()]


def test_training_that_was_interrupted_ends_like_one_that_was_not(tmp_path, batch):
    def trained(steps, checkpoint=None):
        gan = make()
        fit(gan, lambda step: batch, steps=steps, optimizer=gan.adam(), checkpoint=checkpoint)
        return gan

    trained(2, tmp_path / "game")
    resumed, whole = trained(5, tmp_path / "game"), trained(5)
    for name, value in whole.state_dict().items():
        assert torch.equal(resumed.state_dict()[name], value), name


def test_a_game_learns_to_draw_the_brightness_that_is_wanted():
    torch.manual_seed(0)
    labels = torch.arange(32) % 2
    images = (0.2 + 0.6 * labels.float())[:, None, None, None].expand(-1, 1, 16, 16)
    images = images + 0.02 * torch.randn(32, 1, 16, 16)
    gan = GAN(
        AdversarialGenerator(1, 2, size=16, width=8),
        AdversarialDiscriminator(1, 2, size=16, width=8, code=12),
    )
    batch = {"images": images, "labels": labels}
    fit(gan, lambda step: batch, steps=150, optimizer=gan.adam())
    dark, bright = (gan.average.draw(torch.full((50,), k)).mean().item() for k in (0, 1))
    assert dark < 0.4 < 0.6 < bright


def test_rotated_images_turn_back_to_the_originals():
    images = torch.rand(10, 1, 6, 6)
    turned, turns = rotated(images)
    assert turns.bincount().tolist() == [3, 3, 2, 2]
    order = torch.cat([torch.arange(10)[k::4] for k in range(4)])
    for image, number, index in zip(turned, turns, order, strict=True):
        assert torch.equal(image.rot90(-int(number), (1, 2)), images[index])


def test_gradients_are_equally_long_at_the_last_layer(batch):
    gan = make(["class"])
    losses, last = gan.losses(batch), gan.shared_parameters()

    def length(name):
        gradients = torch.autograd.grad(losses[name], last, retain_graph=True)
        return torch.cat([g.flatten() for g in gradients]).norm().item()

    before = {name: length(name) for name in ("G real", "G class")}
    weights = LastLayerWeight("G real", "G class", share=0.5).backward(losses, last)
    assert weights["G class"].item() * before["G class"] == pytest.approx(
        0.5 * before["G real"],
        rel=2e-2,  # the 1e-4 in the denominator
    )
    assert {name: w.item() for name, w in weights.items() if name != "G class"} == {
        "D real": 1,
        "D class": 1,
        "G real": 1,
    }


def test_an_adaptive_weight_does_to_gradients_what_a_fixed_one_of_that_size_does(batch):
    gradients = []
    for adaptive in (True, False):
        gan = make(["class"])
        losses = gan.losses(batch)
        if adaptive:
            balancer = LastLayerWeight("G real", "G class")
            weights = balancer.backward(losses, gan.shared_parameters())
        else:
            Fixed({name: w.item() for name, w in weights.items()}).backward(losses)
        gradients.append([p.grad for p in gan.parameters() if p.grad is not None])
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_a_loss_that_vanishes_at_the_last_layer_gets_a_bounded_weight():
    x = torch.ones(1, requires_grad=True)
    losses = {"main": 1e6 * x.sum(), "task": 0 * x.sum()}
    assert LastLayerWeight("main", "task").backward(losses, [x])["task"] == 1e4


@pytest.mark.parametrize(
    ("make_it", "message"),
    [
        (lambda: AdversarialGenerator(1, 10, size=30), "size is 30, wanted a multiple of 4"),
        (lambda: AdversarialGenerator(1, 0, size=28), "conditions is 0, wanted at least 1"),
        (lambda: make(["age"]), r"tasks has \['age'\], wanted some of class, rotation"),
        (
            lambda: LastLayerWeight("a", "b").backward({"a": torch.ones((), requires_grad=True)}),
            r"lacks \['b'\]",
        ),
        (
            lambda: LastLayerWeight("a", "b").backward(dict.fromkeys("ab", torch.ones(()))),
            "shared is empty",
        ),
    ],
)
def test_what_does_not_fit_is_refused(make_it, message):
    with pytest.raises(ValueError, match=message):
        make_it()
