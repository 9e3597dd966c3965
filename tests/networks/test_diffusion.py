import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from mtl_lib.balancing import Uncertainty
from mtl_lib.networks import (
    Diffusion,
    JointDiffusion,
    UNet,
    ddim,
    min_snr,
    noised,
    signal_and_noise,
    velocity,
)

CHANNELS = {"rgb": 3, "depth": 1}
TIMES = torch.linspace(0, 1, 101)


def pictures(n=3, channels=1, size=8, seed=0):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(seed))


def people(n=3, size=8):
    return {name: pictures(n, channels, size) for name, channels in CHANNELS.items()}


def gaussian_noise(n=3, size=8, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.randn(n, channels, size, size, generator=generator)
        for name, channels in CHANNELS.items()
    }


def woken(network):
    """A network whose every layer matters: those that begin at zero are random too."""
    torch.manual_seed(0)
    for parameter in network.parameters():
        nn.init.normal_(parameter, std=0.1)
    return network


class Recorder(nn.Module):
    """Predicts v = 0 and remembers what it was asked."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def forward(self, x, times, condition=None):
        self.calls.append((x, times, condition))
        return torch.zeros_like(x)


def test_the_schedule_goes_from_the_image_to_noise_and_keeps_the_variance():
    signal, amount = signal_and_noise(TIMES)
    torch.testing.assert_close(signal**2 + amount**2, torch.ones(101))
    assert (signal[0], amount[0], amount[-1]) == (1, 0, 1)
    assert signal[-1].abs() < 1e-6
    assert (signal.diff() < 0).all()


def test_image_and_noise_follow_from_the_mixture_and_v():
    images, noise = torch.randn(2, 101, 1, 4, 4)
    x, v = noised(images, noise, TIMES), velocity(images, noise, TIMES)
    signal, amount = (share[:, None, None, None] for share in signal_and_noise(TIMES))
    torch.testing.assert_close(signal * x - amount * v, images, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(amount * x + signal * v, noise, atol=1e-5, rtol=1e-4)


def test_v_is_the_derivative_of_the_mixture_by_the_angle():
    image, noise = torch.randn(2, 1, 1, 4, 4, dtype=torch.float64)
    t = torch.tensor([0.3], dtype=torch.float64)
    _, derivative = torch.autograd.functional.jvp(
        lambda angle: noised(image, noise, angle / (math.pi / 2)),
        t * math.pi / 2,
        torch.ones(1).double(),
    )
    torch.testing.assert_close(derivative, velocity(image, noise, t))


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_weighs_v_as_the_paper_says(gamma):
    t = TIMES[1:-1].double()  # at both ends the paper's formula divides by zero
    signal, amount = signal_and_noise(t)
    snr = (signal / amount) ** 2
    torch.testing.assert_close(min_snr(t, gamma), snr.clamp(max=gamma) / (snr + 1))
    assert min_snr(TIMES).isfinite().all()


def test_min_snr_refuses_a_cap_that_is_not_positive():
    with pytest.raises(ValueError, match="gamma is 0"):
        min_snr(TIMES, 0)


def test_the_sampler_is_exact_for_normal_data():
    # Data with mean m and deviation s: v is linear in x, and the flow maps noise z to m + s z.
    mean, deviation = 0.4, 0.3

    def predict(x, t):
        signal, amount = signal_and_noise(t[:, None, None, None])
        variance = signal**2 * deviation**2 + amount**2
        image = mean + signal * deviation**2 / variance * (x - signal * mean)
        return velocity(image, (x - signal * image) / amount, t)

    noise = torch.randn(4, 1, 8, 8, dtype=torch.float64)
    errors = [
        (ddim(predict, noise, steps=steps) - (mean + deviation * noise)).abs().max().item()
        for steps in (10, 100, 1000)
    ]
    assert errors[-1] < 0.01
    assert all(fine < coarse / 5 for coarse, fine in pairwise(errors))  # of first order


def test_the_sampler_is_that_of_its_paper_for_predicted_noise():
    network = woken(UNet(1))
    noise, steps = torch.randn(2, 1, 8, 8), 4

    def predict(x, t):
        return network(x, t[:, None])

    x = noise
    with torch.no_grad():
        # Song et al., eq. 12 with σ = 0, where the root of their α is our α.
        for t, s in pairwise(torch.linspace(1, 0, steps + 1)):
            (a, b), (c, d) = signal_and_noise(t), signal_and_noise(s)
            v = predict(x, t.expand(2))
            x = c * (a * x - b * v) + d * (b * x + a * v)
        torch.testing.assert_close(ddim(predict, noise, steps=steps), x, atol=1e-5, rtol=1e-4)


def test_the_sampler_refuses_no_step():
    with pytest.raises(ValueError, match="steps is 0"):
        ddim(lambda x, t: x, torch.zeros(1, 1, 4, 4), steps=0)


@pytest.mark.parametrize("size", [8, 12, 28])
def test_the_network_answers_in_the_shape_of_the_question(size):
    network = UNet(2, times=2, conditions=3, width=8)
    x = torch.randn(4, 2, size, size)
    assert network(x, torch.rand(4, 2), torch.tensor([0, 1, 2, 0])).shape == x.shape


def test_the_network_hears_every_time_and_the_condition():
    network = woken(UNet(1, times=2, conditions=2, width=8))
    x, times, first = torch.randn(1, 1, 8, 8), torch.tensor([[0.3, 0.6]]), torch.tensor([0])
    asked = [
        (times, first),
        (torch.tensor([[0.4, 0.6]]), first),
        (torch.tensor([[0.3, 0.7]]), first),
        (times, torch.tensor([1])),
        (times, None),
    ]
    answers = [network(x, *one) for one in asked]
    for i, a in enumerate(answers):
        assert all(not torch.allclose(a, b) for b in answers[:i])


def test_a_condition_can_be_told_as_its_vector():
    network = woken(UNet(1, conditions=2, width=8))
    x, times = torch.randn(3, 1, 8, 8), torch.rand(3, 1)
    told = torch.tensor([1, 0, 1])
    vectors = network.condition.weight[told]
    torch.testing.assert_close(network(x, times, vectors), network(x, times, told))


def test_an_image_does_not_depend_on_its_neighbours():
    network = woken(UNet(1, width=8))
    x, times = torch.randn(3, 1, 8, 8), torch.rand(3, 1)
    torch.testing.assert_close(network(x, times)[:1], network(x[:1], times[:1]))


@pytest.mark.parametrize(
    ("x", "times", "match"),
    [
        (torch.zeros(2, 3, 8, 8), torch.zeros(2, 1), "x has shape"),
        (torch.zeros(2, 1, 8, 10), torch.zeros(2, 1), "multiples of 4"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2), "times has shape"),
        (torch.zeros(2, 1, 8, 8), torch.zeros(2, 2), "times has shape"),
    ],
)
def test_the_network_refuses_other_shapes(x, times, match):
    with pytest.raises(ValueError, match=match):
        UNet(1)(x, times)


def test_every_bin_has_its_share_of_the_batch_and_its_own_times():
    recorder = Recorder()
    model = Diffusion(recorder, bins=4)
    losses = model.losses({"images": pictures(8)})
    times = recorder.calls[0][1][:, 0]
    assert tuple(losses) == model.tasks == ("0-0.25", "0.25-0.5", "0.5-0.75", "0.75-1")
    assert torch.equal((4 * times).long(), torch.arange(8) // 2)


def test_an_expert_sees_its_span_of_times_alone():
    recorder = Recorder()
    Diffusion(recorder, span=(0.5, 1)).losses({"images": pictures(50)})
    times = recorder.calls[0][1]
    assert times.min() >= 0.5
    assert times.max() <= 1
    assert times.max() - times.min() > 0.4


def test_a_weight_scales_the_errors_by_their_time():
    images, recorder = pictures(16), Recorder()
    losses = []
    for weight in (None, lambda t: 3 * torch.ones_like(t)):
        torch.manual_seed(0)
        model = Diffusion(recorder, bins=2, weight=weight)
        losses.append(torch.stack([*model.losses({"images": images}).values()]))
    torch.testing.assert_close(3 * losses[0], losses[1])


def test_the_loss_of_a_perfect_prediction_is_zero():
    images = pictures(2)

    class Oracle(nn.Module):
        def forward(self, x, times, condition=None):
            clean = 2 * images - 1
            signal, amount = signal_and_noise(times[:, :, None, None])
            return velocity(clean, (x - signal * clean) / amount, times[:, 0])

    errors = Diffusion(Oracle()).errors(images, torch.tensor([0.2, 0.9]), torch.randn(2, 1, 8, 8))
    torch.testing.assert_close(errors, torch.zeros(2), atol=1e-8, rtol=0)


def test_hidden_labels_become_the_condition_none():
    network = UNet(1, conditions=3, width=8)
    model = Diffusion(network, forget=0.5)
    torch.manual_seed(0)
    told = model._told({"labels": torch.zeros(1000).long()})
    assert set(told.tolist()) == {0, 3}
    assert 0.4 < (told == 3).double().mean() < 0.6


def test_guidance_one_is_none_and_guidance_zero_forgets_the_condition():
    model = Diffusion(woken(UNet(1, conditions=2, width=8)))
    noise, told = torch.randn(2, 1, 8, 8), torch.tensor([0, 1])
    plain, free = model.sample(noise, told, steps=3), model.sample(noise, steps=3)
    assert not torch.allclose(plain, free)
    torch.testing.assert_close(model.sample(noise, told, steps=3, guidance=0.0), free)


@pytest.mark.parametrize(
    ("options", "match"), [({"bins": 0}, "bins is 0"), ({"span": (0.5, 0.5)}, "span is")]
)
def test_diffusion_refuses_wrong_settings(options, match):
    with pytest.raises(ValueError, match=match):
        Diffusion(Recorder(), **options)


def test_diffusion_refuses_more_bins_than_images():
    with pytest.raises(ValueError, match="2 images for 4 bins"):
        Diffusion(Recorder(), bins=4).losses({"images": pictures(2)})


def test_balancers_take_bins_for_tasks():
    model = Diffusion(UNet(1, width=8), bins=2)
    weights = Uncertainty(model.tasks).backward(model.losses({"images": pictures(4)}))
    assert list(weights) == ["0-0.5", "0.5-1"]
    assert any(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())


def test_given_images_stay_as_they_are_and_are_told_at_time_zero():
    recorder = Recorder()
    model = JointDiffusion(recorder, CHANNELS)
    shown = people()
    drawn = model.sample(gaussian_noise(), given={"rgb": shown["rgb"]}, steps=3)
    assert torch.equal(drawn["rgb"], shown["rgb"])
    for x, times, _ in recorder.calls:
        torch.testing.assert_close(x[:, :3], 2 * shown["rgb"] - 1)
        assert (times[:, 0] == 0).all()
        assert (times[:, 1] > 0).all()


def test_ignored_modalities_stay_noise_at_time_one_and_do_not_come_back():
    recorder = Recorder()
    noise = gaussian_noise()
    drawn = JointDiffusion(recorder, CHANNELS).sample(noise, ignored=["depth"], steps=3)
    assert list(drawn) == ["rgb"]
    for x, times, _ in recorder.calls:
        assert torch.equal(x[:, 3:], noise["depth"])
        assert (times[:, 1] == 1).all()


def test_joint_samples_move_all_modalities_through_the_same_times():
    recorder = Recorder()
    JointDiffusion(recorder, CHANNELS).sample(gaussian_noise(), steps=4)
    times = [times[0].tolist() for _, times, _ in recorder.calls]
    assert times == [[1, 1], [0.75, 0.75], [0.5, 0.5], [0.25, 0.25]]


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"ignored": ["normals"]}, "ignored has"),
        ({"given": people(), "ignored": ["rgb"]}, "different modalities"),
    ],
)
def test_sampling_refuses_contradictions(options, match):
    with pytest.raises(ValueError, match=match):
        JointDiffusion(Recorder(), CHANNELS).sample(gaussian_noise(), **options)


def test_joint_losses_are_the_errors_of_each_modality():
    model = JointDiffusion(woken(UNet(4, times=2, width=8)), CHANNELS)
    torch.manual_seed(3)
    losses = model.losses(people())
    torch.manual_seed(3)
    t = torch.rand(3, 2)
    noise = {name: torch.randn_like(images) for name, images in people().items()}
    errors = model.errors(people(), t, noise)
    for name in CHANNELS:
        torch.testing.assert_close(losses[name], errors[name].mean())


def test_what_is_given_or_ignored_does_not_count():
    def depth_given_rgb(n):
        return torch.stack([torch.zeros(n), torch.rand(n)], dim=1)

    model = JointDiffusion(Recorder(), CHANNELS, times=depth_given_rgb)
    assert list(model.losses(people())) == ["depth"]


def test_a_joint_model_of_one_modality_is_a_diffusion_model():
    network = woken(UNet(1, width=8))
    images, t, noise = pictures(), torch.tensor([0.1, 0.5, 0.9]), torch.randn(3, 1, 8, 8)
    joint = JointDiffusion(network, {"garment": 1})
    torch.testing.assert_close(
        joint.errors({"garment": images}, t[:, None], {"garment": noise})["garment"],
        Diffusion(network).errors(images, t, noise),
    )
    torch.testing.assert_close(
        joint.sample({"garment": noise}, steps=3)["garment"],
        Diffusion(network).sample(noise, steps=3),
    )


def test_a_joint_model_needs_a_modality():
    with pytest.raises(ValueError, match="channels is empty"):
        JointDiffusion(Recorder(), {})
