"""Diffusion: a small U-Net that takes noise away, with one amount of noise for each modality."""

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mtl_lib.networks._blocks import _GROUPS, _check_multiple
from mtl_lib.networks._conditional import FiLM

__all__ = [
    "Diffusion",
    "JointDiffusion",
    "UNet",
    "ddim",
    "min_snr",
    "noised",
    "signal_and_noise",
    "velocity",
]

_HARMONICS = 8  # cosines of time that the network is told


def signal_and_noise(t: Tensor) -> tuple[Tensor, Tensor]:
    """Shares of the image and of the noise at a time: α = cos(π t / 2), σ = sin(π t / 2).

    Time 0 is the image, time 1 nothing but noise. α² + σ² = 1, so that pixels of variance 1 keep
    it.

    Reference: the cosine schedule of A. Nichol, P. Dhariwal, "Improved Denoising Diffusion
    Probabilistic Models", ICML 2021, eq. 17, without its offset, in continuous time, as in
    T. Salimans, J. Ho, "Progressive Distillation for Fast Sampling of Diffusion Models", ICLR 2022.

    Args:
        t: times in [0, 1], any shape.

    Example:
        >>> signal_and_noise(torch.tensor([0.0, 1.0]))[0].round(decimals=3).tolist()
        [1.0, -0.0]
    """
    angle = t * (math.pi / 2)
    return angle.cos(), angle.sin()


def noised(images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """Mix images with noise, α images + σ noise.

    Args:
        images: ``(n, channels, height, width)``, roughly of variance 1.
        noise: the same shape, standard normal.
        t: a time for each image, ``(n,)``.
    """
    signal, amount = _as_maps(t)
    return signal * images + amount * noise


def velocity(images: Tensor, noise: Tensor, t: Tensor) -> Tensor:
    """What the network learns to predict, v = α noise − σ images.

    From a mixture x and v follow both, images = α x − σ v and noise = σ x + α v.

    Reference: T. Salimans, J. Ho, "Progressive Distillation for Fast Sampling of Diffusion Models",
    ICLR 2022, section 4 and appendix D.

    Args:
        images: ``(n, channels, height, width)``.
        noise: the same shape.
        t: a time for each image, ``(n,)``.
    """
    signal, amount = _as_maps(t)
    return signal * noise - amount * images


def min_snr(t: Tensor, gamma: float = 5.0) -> Tensor:
    """Min-SNR weight of the error of v, min(SNR, γ) / (SNR + 1) with SNR = α² / σ².

    The same loss has the weight min(SNR, γ) for the error of the image, and min(SNR, γ) / SNR for
    that of the noise. Here it is min(α², γ σ²), which divides by nothing.

    Reference: T. Hang et al., "Efficient Diffusion Training via Min-SNR Weighting Strategy", ICCV
    2023, section 3.4.

    Args:
        t: times in [0, 1], any shape.
        gamma: γ, the largest weight of the error of the image.

    Raises:
        ValueError: γ is not above 0.

    Example:
        >>> min_snr(torch.tensor([0.0, 0.5, 1.0])).round(decimals=3).tolist()
        [0.0, 0.5, 0.0]
    """
    if not gamma > 0:
        raise ValueError(f"gamma is {gamma}, wanted a number above 0; 5 is the paper's.")
    signal, amount = signal_and_noise(t)
    return torch.minimum(signal.square(), gamma * amount.square())


def ddim(predict: Callable[[Tensor, Tensor], Tensor], noise: Tensor, *, steps: int = 25) -> Tensor:
    """From noise to images in a few steps, without drawing any more noise.

    A step from time t to s < t keeps the images and the noise that v says x is a mixture of, and
    mixes them anew. With this schedule that is a turn by an angle δ = (t − s) π / 2,
    x ← cos(δ) x − sin(δ) v.

    Reference: J. Song, C. Meng, S. Ermon, "Denoising Diffusion Implicit Models", ICLR 2021, eq. 12
    with its σ = 0; as a turn in T. Salimans, J. Ho, "Progressive Distillation for Fast Sampling of
    Diffusion Models", ICLR 2022, appendix D.

    Args:
        predict: x and times ``(n,)`` -> v.
        noise: standard normal, ``(n, channels, height, width)``.
        steps: from time 1 to time 0, all of the same length.

    Raises:
        ValueError: less than one step.

    Example:
        >>> image, noise = torch.ones(1, 1, 2, 2), torch.randn(1, 1, 2, 2)
        >>> found = ddim(lambda x, t: velocity(image, noise, t), noise)
        >>> torch.allclose(found, image, atol=1e-5)
        True
    """
    if steps < 1:
        raise ValueError(f"steps is {steps}, wanted at least 1.")
    x, turn = noise, math.pi / 2 / steps
    for t in torch.linspace(1, 0, steps + 1)[:-1].tolist():
        v = predict(x, torch.full((len(x),), t, dtype=x.dtype, device=x.device))
        x = math.cos(turn) * x - math.sin(turn) * v
    return x


class UNet(nn.Module):
    """Small U-Net: noisy images, their times and a condition in, images of the same shape out.

    Squares of two by two pixels become channels first, so that nothing is computed at full size.
    One level down, one up, with a skip; every block is told times and condition by `FiLM`.

    Reference: O. Ronneberger, P. Fischer, T. Brox, "U-Net: Convolutional Networks for Biomedical
    Image Segmentation", MICCAI 2015; with residual blocks and times as in J. Ho, A. Jain,
    P. Abbeel, "Denoising Diffusion Probabilistic Models", NeurIPS 2020.

    Args:
        channels: of the images, all modalities together.
        times: how many times an image has, one for each modality.
        conditions: how many, such as classes or tasks; one more stands for "none".
        width: channels of the maps, a multiple of 8; twice as many one level down.
        blocks: residual blocks at each level, on each side.
        code: numbers that times and condition are told in.

    Raises:
        ValueError: a width that is not such a multiple.

    Example:
        >>> network = UNet(3, conditions=10)
        >>> network(torch.zeros(2, 3, 28, 28), torch.zeros(2, 1), torch.tensor([3, 9])).shape
        torch.Size([2, 3, 28, 28])
    """

    def __init__(
        self,
        channels: int,
        *,
        times: int = 1,
        conditions: int = 0,
        width: int = 16,
        blocks: int = 1,
        code: int = 64,
    ) -> None:
        super().__init__()
        _check_multiple("width", width, _GROUPS)
        self.channels, self.times = channels, times
        self.told = nn.Linear(times * _HARMONICS, code)
        self.condition = nn.Embedding(conditions + 1, code)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(code, code), nn.SiLU())
        self.stem = nn.Sequential(
            nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, width, 3, padding=1)
        )
        self.before = nn.ModuleList(_Block(width, width, code) for _ in range(blocks))
        self.down = nn.Conv2d(width, 2 * width, 3, stride=2, padding=1)
        self.inside = nn.ModuleList(_Block(2 * width, 2 * width, code) for _ in range(2 * blocks))
        self.up = nn.Sequential(nn.Conv2d(2 * width, 4 * width, 1), nn.PixelShuffle(2))
        self.after = nn.ModuleList(
            _Block(2 * width if i == 0 else width, width, code) for i in range(blocks)
        )
        self.head = nn.Sequential(
            nn.GroupNorm(_GROUPS, width),
            nn.SiLU(),
            nn.Conv2d(width, 4 * channels, 3, padding=1),
            nn.PixelShuffle(2),
        )

    def forward(self, x: Tensor, times: Tensor, condition: Tensor | None = None) -> Tensor:
        """Predict v.

        Args:
            x: noisy images, ``(n, channels, height, width)``, sides a multiple of 4.
            times: ``(n, times)`` in [0, 1].
            condition: indices ``(n,)``; vectors ``(n, code)`` in their place; or none.

        Raises:
            ValueError: images or times of another shape.
        """
        self._check(x, times)
        c = self.mix(self.told(_harmonics(times)) + self._vectors(condition, len(x)))
        skip = h = self.stem(x)
        for block in self.before:
            skip = h = block(h, c)
        h = self.down(h)
        for block in self.inside:
            h = block(h, c)
        h = torch.cat([self.up(h), skip], dim=1)
        for block in self.after:
            h = block(h, c)
        out: Tensor = self.head(h)
        return out

    def _vectors(self, condition: Tensor | None, n: int) -> Tensor:
        if condition is not None and condition.is_floating_point():
            return condition
        if condition is None:
            last = self.condition.num_embeddings - 1
            condition = torch.full((n,), last, device=self.condition.weight.device)
        vectors: Tensor = self.condition(condition)
        return vectors

    def _check(self, x: Tensor, times: Tensor) -> None:
        sides = [side for side in x.shape[2:] if side % 4 == 0]
        if x.shape[1:2] != (self.channels,) or len(sides) != 2:
            raise ValueError(
                f"x has shape {tuple(x.shape)}, wanted (n, {self.channels}, height, width) with "
                "sides that are multiples of 4: pad the images, or make the network for others."
            )
        if times.shape != (len(x), self.times):
            raise ValueError(
                f"times has shape {tuple(times.shape)}, wanted ({len(x)}, {self.times}): one time "
                "for each image and modality."
            )


def _harmonics(times: Tensor) -> Tensor:
    """``(n, times) -> (n, times * 8)``: cosines of times, from slow to fast."""
    k = torch.arange(1, _HARMONICS + 1, device=times.device)
    return (math.pi * times[:, :, None] * k).cos().flatten(1)


def _as_maps(t: Tensor) -> tuple[Tensor, Tensor]:
    """α and σ of shape (n, 1, 1, 1)."""
    signal, amount = signal_and_noise(t[:, None, None, None])
    return signal, amount


class _Block(nn.Module):
    """Two convolutions around a residual path, told what to do by a vector."""

    def __init__(self, channels: int, out_channels: int, code: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(_GROUPS, channels)
        self.first = nn.Conv2d(channels, out_channels, 3, padding=1)
        self.second_norm = nn.GroupNorm(_GROUPS, out_channels, affine=False)
        self.film = FiLM(out_channels, code)
        self.second = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        nn.init.zeros_(self.second.weight)  # a block begins as its residual path
        same = channels == out_channels
        self.skip = nn.Identity() if same else nn.Conv2d(channels, out_channels, 1)

    def forward(self, x: Tensor, c: Tensor) -> Tensor:
        h = self.first(nn.functional.silu(self.norm(x)))
        h = self.second(nn.functional.silu(self.film(self.second_norm(h), c)))
        out: Tensor = self.skip(x) + h
        return out


class Diffusion(nn.Module):
    """A network that predicts v, and its loss in several bins of time, each a task of its own.

    The times of a batch are spread evenly: image i of n gets a random time in the i-th of n equal
    parts of the span, so that every bin has its share of every batch. The images of a batch have
    to come in random order.

    Args:
        network: ``(x, times (n, 1), condition) -> v``, such as `UNet`.
        bins: of equal width in time; at most as many as images in a batch.
        span: times to train on; a part of them makes an expert for some amount of noise.
        weight: time -> weight of the squared error of v; 1 where left out. See `min_snr`.
        forget: share of images whose condition is hidden in training, so that the network also
            learns to do without.

    Raises:
        ValueError: less than one bin, or a span that does not lie in [0, 1].

    Example:
        >>> model = Diffusion(UNet(1), bins=4)
        >>> list(model.losses({"images": torch.rand(8, 1, 28, 28)}))
        ['0-0.25', '0.25-0.5', '0.5-0.75', '0.75-1']
        >>> model.sample(torch.randn(2, 1, 28, 28), steps=3).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        bins: int = 1,
        span: tuple[float, float] = (0.0, 1.0),
        weight: Callable[[Tensor], Tensor] | None = None,
        forget: float = 0.0,
    ) -> None:
        super().__init__()
        if bins < 1:
            raise ValueError(f"bins is {bins}, wanted at least 1.")
        if not 0 <= span[0] < span[1] <= 1:
            raise ValueError(f"span is {span}, wanted two times in order, from 0 to 1.")
        self.network, self.weight, self.forget, self.span = network, weight, forget, span
        edges = torch.linspace(*span, bins + 1).tolist()
        self.tasks = tuple(f"{low:.3g}-{high:.3g}" for low, high in pairwise(edges))

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{bin: mean weighted squared error of v}``.

        Args:
            batch: ``"images"`` in [0, 1]; ``"labels"`` where the network has conditions.

        Raises:
            ValueError: fewer images than bins.
        """
        images = batch["images"]
        n, bins = len(images), len(self.tasks)
        if n < bins:
            raise ValueError(f"the batch has {n} images for {bins} bins: wanted one or more each.")
        low, high = self.span
        t = low + (high - low) * (torch.arange(n) + torch.rand(n)).to(images) / n
        errors = self.errors(images, t, torch.randn_like(images), self._told(batch))
        if self.weight is not None:
            errors = self.weight(t) * errors
        return {
            task: part.mean()
            for task, part in zip(self.tasks, torch.tensor_split(errors, bins), strict=True)
        }

    def errors(
        self, images: Tensor, t: Tensor, noise: Tensor, condition: Tensor | None = None
    ) -> Tensor:
        """Mean squared error of v for each image, without weights, ``(n,)``.

        Args:
            images: ``(n, channels, height, width)`` in [0, 1].
            t: times ``(n,)``.
            noise: standard normal, the shape of the images.
            condition: see `UNet`.
        """
        x = 2 * images - 1
        predicted = self.network(noised(x, noise, t), t[:, None], condition)
        errors: Tensor = (predicted - velocity(x, noise, t)).square().mean((1, 2, 3))
        return errors

    @torch.no_grad()
    def sample(
        self,
        noise: Tensor,
        condition: Tensor | None = None,
        *,
        steps: int = 25,
        guidance: float = 1.0,
    ) -> Tensor:
        """Draw images with `ddim`, in [0, 1].

        Args:
            noise: standard normal, ``(n, channels, height, width)``.
            condition: see `UNet`.
            steps: calls of the network, two for each where there is guidance.
            guidance: g in v = v₀ + g (v_c − v₀), where v_c is told the condition and v₀ is not
                (J. Ho, T. Salimans, "Classifier-Free Diffusion Guidance", 2022). 1 is none.
        """

        def predict(x: Tensor, t: Tensor) -> Tensor:
            v: Tensor = self.network(x, t[:, None], condition)
            if guidance == 1.0:
                return v
            free: Tensor = self.network(x, t[:, None])
            return free + guidance * (v - free)

        return ((ddim(predict, noise, steps=steps) + 1) / 2).clamp(0, 1)

    def _told(self, batch: Mapping[str, Tensor]) -> Tensor | None:
        if "labels" not in batch or not isinstance(self.network, UNet):
            return batch.get("labels")
        none = self.network.condition.num_embeddings - 1
        if none == 0:
            return None
        labels = batch["labels"]
        hidden = torch.rand(len(labels)).to(labels.device) < self.forget
        return torch.where(hidden, none, labels)


class JointDiffusion(nn.Module):
    """One diffusion model over several modalities, each with a time of its own.

    A modality at time 0 is given, one at time 1 is nothing but noise and so ignored. So the same
    network draws all modalities together, any of them given any others, and each by itself.

    Reference: F. Bao et al., "One Transformer Fits All Distributions in Multi-Modal Diffusion at
    Scale", ICML 2023. There the network predicts the noise of each modality, here v.

    Args:
        network: ``(x, times (n, modalities), condition) -> v``, with the modalities as channels.
        channels: ``{modality: channels}``, in their order.
        times: n -> times to train on, ``(n, modalities)``; independent and uniform where left
            out. With times that are always 0 or 1 for some modality it becomes a specialist.

    Raises:
        ValueError: no modality.

    Example:
        >>> model = JointDiffusion(UNet(4, times=2), {"rgb": 3, "depth": 1})
        >>> people = {"rgb": torch.rand(2, 3, 16, 16), "depth": torch.rand(2, 1, 16, 16)}
        >>> list(model.losses(people))
        ['rgb', 'depth']
        >>> noise = {name: torch.randn_like(images) for name, images in people.items()}
        >>> drawn = model.sample(noise, given={"rgb": people["rgb"]}, steps=2)
        >>> drawn["depth"].shape, torch.equal(drawn["rgb"], people["rgb"])
        (torch.Size([2, 1, 16, 16]), True)
    """

    def __init__(
        self,
        network: nn.Module,
        channels: Mapping[str, int],
        *,
        times: Callable[[int], Tensor] | None = None,
    ) -> None:
        super().__init__()
        if not channels:
            raise ValueError("channels is empty: give at least one modality.")
        self.network, self.channels = network, dict(channels)
        self.times = self._independent if times is None else times

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{modality: mean squared error of v}``.

        What is given or ignored, at a time of exactly 0 or 1, has nothing to predict and does not
        count; a modality that never has is left out.

        Args:
            batch: an image in [0, 1] for each modality; ``"labels"`` where the network has
                conditions.
        """
        first = batch[next(iter(self.channels))]
        t = self.times(len(first)).to(first)
        noise = {name: torch.randn_like(batch[name]) for name in self.channels}
        errors = self.errors(batch, t, noise, batch.get("labels"))
        counts = ((t > 0) & (t < 1)).to(t)
        return {
            name: (count * errors[name]).sum() / count.sum()
            for name, count in zip(self.channels, counts.T, strict=True)
            if count.any()
        }

    def errors(
        self,
        images: Mapping[str, Tensor],
        t: Tensor,
        noise: Mapping[str, Tensor],
        condition: Tensor | None = None,
    ) -> dict[str, Tensor]:
        """``{modality: mean squared error of v for each image (n,)}``.

        Args:
            images: ``{modality: (n, channels, height, width)}`` in [0, 1].
            t: times ``(n, modalities)``.
            noise: standard normal, like the images.
            condition: see `UNet`.
        """
        columns = dict(zip(self.channels, t.T, strict=True))
        x = {name: 2 * images[name] - 1 for name in self.channels}
        mixed = [noised(x[name], noise[name], s) for name, s in columns.items()]
        predicted = self._split(self.network(torch.cat(mixed, dim=1), t, condition))
        wanted = {name: velocity(x[name], noise[name], s) for name, s in columns.items()}
        return {
            name: (predicted[name] - wanted[name]).square().mean((1, 2, 3))
            for name in self.channels
        }

    @torch.no_grad()
    def sample(
        self,
        noise: Mapping[str, Tensor],
        *,
        given: Mapping[str, Tensor] | None = None,
        ignored: Sequence[str] = (),
        condition: Tensor | None = None,
        steps: int = 25,
    ) -> dict[str, Tensor]:
        """Draw with `ddim` what is neither given nor ignored; all images in [0, 1].

        Args:
            noise: standard normal, for every modality that is not given.
            given: images of some modalities; they come back as they are.
            ignored: modalities that do not matter; they stay noise, and do not come back.
            condition: see `UNet`.
            steps: calls of the network.

        Raises:
            ValueError: a modality that the model does not have, or one both given and ignored.
        """
        given = {} if given is None else given
        unknown = {*given, *ignored} - self.channels.keys()
        if unknown or given.keys() & {*ignored}:
            raise ValueError(
                f"given has {sorted(given)}, ignored has {sorted(ignored)}: wanted different "
                f"modalities among {', '.join(self.channels)}."
            )
        start = {n: 2 * given[n] - 1 if n in given else noise[n] for n in self.channels}
        times = {**dict.fromkeys(given, 0.0), **dict.fromkeys(ignored, 1.0)}
        still = {name: start[name] for name in times}

        def predict(x: Tensor, t: Tensor) -> Tensor:
            columns = [torch.full_like(t, times[n]) if n in times else t for n in self.channels]
            x = torch.cat([*(self._split(x) | still).values()], dim=1)
            v: Tensor = self.network(x, torch.stack(columns, dim=1), condition)
            return v

        drawn = self._split(ddim(predict, torch.cat([*start.values()], dim=1), steps=steps))
        images = {n: ((y + 1) / 2).clamp(0, 1) for n, y in drawn.items()} | dict(given)
        return {name: images[name] for name in self.channels if name not in ignored}

    def _split(self, x: Tensor) -> dict[str, Tensor]:
        parts = torch.split(x, list(self.channels.values()), dim=1)
        return dict(zip(self.channels, parts, strict=True))

    def _independent(self, n: int) -> Tensor:
        return torch.rand(n, len(self.channels))
