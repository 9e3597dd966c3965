import pytest
import torch
from torch import nn
from torch.distributions import Independent, Normal, kl_divergence

from mtl_lib.balancing import Fixed, UPGrad
from mtl_lib.networks import (
    VAE,
    Encoder,
    calibrated_error,
    image_vae,
    kl_to_prior,
    squared_error,
)

SIZE, CODE = 16, 6
CHANNELS = {"rgb": 3, "depth": 1, "edges": 1}


def model_of(*names, error=calibrated_error):
    torch.manual_seed(0)
    modalities = {name: CHANNELS[name] for name in names or CHANNELS}
    return image_vae(modalities, CODE, size=SIZE, width=8, error=error)


def images_of(n=5, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(n, channels, SIZE, SIZE, generator=generator)
        for name, channels in CHANNELS.items()
    }


def gradient(loss, model):
    parts = torch.autograd.grad(loss, list(model.parameters()))
    return torch.cat([part.flatten() for part in parts])


def losses_with_noise(model, batch, seed=0):
    torch.manual_seed(seed)
    return model.losses(batch)


def test_the_divergence_is_that_of_torch_distributions():
    mean, log_variance = torch.randn(2, 7, CODE, dtype=torch.float64)
    ours = Normal(mean, (log_variance / 2).exp())
    torch.testing.assert_close(
        kl_to_prior(mean, log_variance), kl_divergence(ours, Normal(0.0, 1.0).expand(mean.shape))
    )


@pytest.mark.parametrize("variance", [1.0, 0.04])
def test_squared_error_is_a_gaussian_likelihood_without_its_constants(variance):
    image, target = torch.rand(2, 4, 3, 5, 5, dtype=torch.float64)
    numbers = target[0].numel()
    density = Independent(Normal(image, variance**0.5), 3).log_prob(target).mean()
    constants = 0.5 * numbers * torch.tensor(2 * torch.pi * variance, dtype=torch.float64).log()
    torch.testing.assert_close(squared_error(image, target) / variance + constants, -density)


def test_calibrated_error_is_the_likelihood_under_the_likeliest_variance():
    image, target = torch.rand(2, 4, 3, 5, 5, dtype=torch.float64)
    numbers = target[0].numel()

    def likelihood(variance):  # up to (N/2) log 2π
        return squared_error(image, target) / variance + 0.5 * numbers * variance.log()

    best = (image - target).square().mean()
    torch.testing.assert_close(calibrated_error(image, target) + numbers / 2, likelihood(best))
    for other in (0.9 * best, 1.1 * best):
        assert likelihood(other) > likelihood(best)


def test_a_calibrated_vae_follows_the_gradient_of_a_beta_vae_whose_beta_is_its_error():
    model, batch = model_of("rgb"), images_of()
    calibrated = gradient(sum(losses_with_noise(model, batch).values()), model)
    model.error = squared_error
    losses = losses_with_noise(model, batch)
    variance = 2 * losses["rgb"].item() / batch["rgb"][0].numel()
    weighted = gradient(Fixed({"rgb": 1.0, "code": variance})(losses), model)
    torch.testing.assert_close(variance * calibrated, weighted, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("known", [("rgb",), ("depth", "edges"), ("rgb", "depth", "edges")])
def test_the_posterior_is_the_normalised_product_of_the_densities(known):
    model, images = model_of().double(), images_of(1)
    images = {name: images[name].double() for name in known}
    mean, log_variance = model.encode(images)
    z = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    log_density = Normal(0.0, 1.0).log_prob(z).expand(-1, CODE)
    for name, image in images.items():
        center, log_spread = model.encoders[name](image).chunk(2, dim=1)
        log_density = log_density + Normal(center, (log_spread / 2).exp()).log_prob(z)
    density = torch.softmax(log_density, 0)
    expected = (density * z).sum(0)
    torch.testing.assert_close(mean[0], expected, rtol=0, atol=1e-6)
    variance = (density * (z - expected) ** 2).sum(0)
    torch.testing.assert_close(log_variance[0].exp(), variance, rtol=1e-6, atol=1e-6)


def test_what_is_not_given_has_no_say():
    model, images = model_of(), images_of()
    given = {"rgb": torch.ones(5), "depth": torch.zeros(5), "edges": torch.zeros(5)}
    for a, b in zip(model.encode(images, given), model.encode({"rgb": images["rgb"]}), strict=True):
        torch.testing.assert_close(a, b)


def test_nothing_given_leaves_the_prior():
    nothing = dict.fromkeys(CHANNELS, torch.zeros(5))
    mean, log_variance = model_of().encode(images_of(), nothing)
    assert mean.abs().max() == 0
    assert log_variance.abs().max() == 0


def test_every_more_modality_narrows_the_code():
    model, images = model_of(), images_of()
    known: dict[str, torch.Tensor] = {}
    last = torch.zeros(5, CODE)
    for name in CHANNELS:
        known[name] = images[name]
        log_variance = model.encode(known)[1]
        assert (log_variance < last).all()
        last = log_variance


def test_every_subset_but_the_empty_one_is_equally_likely():
    model = model_of()
    torch.manual_seed(0)
    given = model._subsets(images_of(7000))
    patterns = torch.stack(list(given.values()), dim=1)
    found, counts = patterns.unique(dim=0, return_counts=True)
    assert len(found) == 7
    assert found.sum(1).min() == 1
    assert (counts - 1000).abs().max() < 5 * 1000**0.5  # five standard deviations


def test_every_modality_is_drawn_whatever_was_given():
    """Decoders that ignore the code make the errors known, whatever the subsets."""

    class Constant(nn.Module):
        def __init__(self, channels):
            super().__init__()
            self.image = nn.Parameter(torch.zeros(channels, SIZE, SIZE))

        def forward(self, code):
            return self.image.expand(len(code), -1, -1, -1)

    encoders = {name: Encoder(c, 2 * CODE, size=SIZE) for name, c in CHANNELS.items()}
    decoders = {name: Constant(c) for name, c in CHANNELS.items()}
    losses = VAE(encoders, decoders, CODE, squared_error).losses(images_of())
    for name, images in images_of().items():
        expected = 0.5 * images.square().sum() / 5
        torch.testing.assert_close(losses[name], expected)


def test_encoders_are_shared_and_decoders_are_not():
    model = model_of()
    balancer = UPGrad()
    balancer.backward(model.losses(images_of()), shared=model.shared_parameters())
    owned = [p for task in (*CHANNELS, "code") for p in model.task_parameters(task)]
    every = {*model.shared_parameters(), *owned}
    assert every == {*model.parameters()}
    assert len(owned) + len(model.shared_parameters()) == len(every)
    assert all(p.grad is not None for p in model.parameters())


def test_a_vae_learns_to_draw_one_modality_from_another():
    torch.manual_seed(0)
    height = torch.rand(64, 1, 1, 1)
    below = (torch.linspace(0, 1, SIZE)[:, None] > height).float()  # (64, 1, SIZE, 1)
    images = below.expand(-1, -1, -1, SIZE)
    batch = {"rgb": images.expand(-1, 3, -1, -1), "depth": 1 - images}
    model = model_of("rgb", "depth")
    adam = torch.optim.Adam(model.parameters(), 0.01)
    for _ in range(150):
        adam.zero_grad()
        sum(model.losses(batch).values()).backward()
        adam.step()
    drawn = model({"rgb": batch["rgb"]})["depth"]
    assert (drawn - batch["depth"]).square().mean() < 0.25 * batch["depth"].var()


def test_samples_repeat_with_their_generator():
    model = model_of().eval()
    first, again, other = (model.sample(3, torch.Generator().manual_seed(s)) for s in (0, 0, 1))
    assert {name: x.shape for name, x in first.items()} == {
        name: (3, channels, SIZE, SIZE) for name, channels in CHANNELS.items()
    }
    assert all(torch.equal(first[name], again[name]) for name in CHANNELS)
    assert not torch.equal(first["rgb"], other["rgb"])


def test_images_of_no_known_modality_are_refused():
    with pytest.raises(ValueError, match="wanted one or more of rgb, depth, edges"):
        model_of().encode({"sound": torch.zeros(1)})


@pytest.mark.parametrize("names", [{"encoders": ["a"], "decoders": ["b"]}, {"encoders": ["code"]}])
def test_names_that_cannot_work_are_refused(names):
    encoders = {name: nn.Linear(2, 2) for name in names["encoders"]}
    decoders = {name: nn.Linear(1, 2) for name in names.get("decoders", names["encoders"])}
    with pytest.raises(ValueError, match="give both"):
        VAE(encoders, decoders, 1)


def test_parameters_of_an_unknown_task_are_refused():
    with pytest.raises(ValueError, match="choose among rgb, code"):
        model_of("rgb").task_parameters("depth")
