"""A generative adversarial network whose discriminator has several tasks."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.parametrizations import spectral_norm
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from mtl_lib.balancing import Balancer
from mtl_lib.balancing._balancer import check_losses, check_shared, flat_gradient
from mtl_lib.distributed import average
from mtl_lib.networks._blocks import _GROUPS, ImageHead, _check_multiple
from mtl_lib.networks._conditional import ConditionalNorm

__all__ = ["GAN", "AdversarialDiscriminator", "AdversarialGenerator", "LastLayerWeight", "rotated"]

_TASKS = ("class", "rotation")


class AdversarialGenerator(nn.Module):
    """Draw images of wanted classes: ``(n, noise), (n,) -> (n, channels, size, size)``.

    The layers are those of `Decoder` and `ImageHead`, with a `ConditionalNorm` that has a scale
    and a shift for each class in place of the plain normalisation. Pixels lie in (0, 1).

    Args:
        channels: of the images.
        classes: how many.
        size: height and width of the images, a multiple of 4.
        noise: numbers an image is drawn from.
        width: channels of the last maps, a multiple of 8; twice as many before.

    Raises:
        ValueError: a size or width that is not such a multiple, or no class.

    Example:
        >>> AdversarialGenerator(1, 10, size=28).draw(torch.tensor([3, 8])).shape
        torch.Size([2, 1, 28, 28])
    """

    def __init__(
        self, channels: int, classes: int, *, size: int, noise: int = 32, width: int = 16
    ) -> None:
        _check_multiple("size", size, 4)
        _check_multiple("width", width, _GROUPS)
        super().__init__()
        self.noise, self.classes = noise, classes
        self.unfold = nn.Sequential(
            nn.Linear(noise, 2 * width * (size // 4) ** 2),
            nn.Unflatten(1, (2 * width, size // 4, size // 4)),
        )
        self.coarse = ConditionalNorm(2 * width, classes)
        self.enlarge = nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False)
        self.fine = ConditionalNorm(width, classes)
        self.head = ImageHead(width, channels)

    def forward(self, z: Tensor, labels: Tensor) -> Tensor:
        """Images in (0, 1) from noise ``(n, noise)`` and classes ``(n,)`` int64."""
        h = functional.silu(self.coarse(self.unfold(z), labels))
        h = functional.silu(self.fine(self.enlarge(h), labels))
        images: Tensor = self.head(h)
        return images

    @torch.no_grad()
    def draw(self, labels: Tensor, seed: int = 0) -> Tensor:
        """Draw one image for each label, without a graph; the noise depends on the seed alone.

        Args:
            labels: classes, ``(n,)`` int64.
            seed: of the noise.
        """
        generator = torch.Generator().manual_seed(seed)
        z = torch.randn(len(labels), self.noise, generator=generator)
        images: Tensor = self(z.to(labels.device), labels)
        return images


class AdversarialDiscriminator(nn.Module):
    """One trunk that looks at images, and one head for each question about them.

    - ``real``: is it real, *as an image of its class*? A scalar for each image, larger for real:
      ``w·h + b + e_y·h`` with the features h and a vector e_y for each class y, the projection of
      T. Miyato, M. Koyama, "cGANs with Projection Discriminator", ICLR 2018, eq. 3.
    - ``class``: which class? Logits; an auxiliary classifier (A. Odena, C. Olah, J. Shlens,
      "Conditional Image Synthesis with Auxiliary Classifier GANs", ICML 2017).
    - ``rotation``: by how many quarter turns was it rotated? Logits of four (T. Chen, X. Zhai,
      M. Ritter, M. Lucic, N. Houlsby, "Self-Supervised GANs via Auxiliary Rotation Loss", CVPR
      2019).

    Every layer of the trunk, and ``real``, is normalised to a largest singular value of 1
    (T. Miyato, T. Kataoka, M. Koyama, Y. Yoshida, "Spectral Normalization for Generative
    Adversarial Networks", ICLR 2018). The heads of the auxiliary tasks are not: their loss is
    bounded below by 0 and cannot run away.

    Args:
        channels: of the images.
        classes: how many.
        size: height and width of the images, a multiple of 4.
        tasks: auxiliary tasks, of ``"class"`` and ``"rotation"``.
        width: channels of the first maps; twice as many follow.
        code: numbers in the features.

    Raises:
        ValueError: a size that is not such a multiple, or an unknown task.

    Example:
        >>> network = AdversarialDiscriminator(1, 10, size=28, tasks=["class"])
        >>> features = network.trunk(torch.zeros(2, 1, 28, 28))
        >>> network.real(features, torch.tensor([3, 8])).shape
        torch.Size([2])
        >>> network.heads["class"](features).shape
        torch.Size([2, 10])
    """

    def __init__(
        self,
        channels: int,
        classes: int,
        *,
        size: int,
        tasks: Sequence[str] = (),
        width: int = 16,
        code: int = 64,
    ) -> None:
        _check_multiple("size", size, 4)
        unknown = [task for task in tasks if task not in _TASKS]
        if unknown:
            raise ValueError(f"tasks has {unknown}, wanted some of {', '.join(_TASKS)}, or none.")
        super().__init__()
        self.trunk = nn.Sequential(
            nn.PixelUnshuffle(2),
            spectral_norm(nn.Conv2d(4 * channels, width, 3, padding=1)),
            nn.LeakyReLU(0.2),
            spectral_norm(nn.Conv2d(width, 2 * width, 4, stride=2, padding=1)),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            spectral_norm(nn.Linear(2 * width * (size // 4) ** 2, code)),
            nn.LeakyReLU(0.2),
        )
        self.score = spectral_norm(nn.Linear(code, 1))
        self.classes = spectral_norm(nn.Embedding(classes, code))
        answers = {"class": classes, "rotation": 4}
        self.heads = nn.ModuleDict({task: nn.Linear(code, answers[task]) for task in tasks})

    def real(self, features: Tensor, labels: Tensor) -> Tensor:
        """How real images of those classes look: ``(n, code), (n,) -> (n,)``."""
        score: Tensor = self.score(features)[:, 0] + (self.classes(labels) * features).sum(1)
        return score

    def auxiliary_losses(
        self, images: Tensor, features: Tensor, labels: Tensor
    ) -> dict[str, Tensor]:
        """Cross-entropy of each auxiliary task: ``{task: scalar}``.

        Args:
            images: ``(n, channels, size, size)``; the task "rotation" turns them.
            features: ``(n, code)``, the trunk's of these images.
            labels: their classes, ``(n,)``.
        """
        losses = {}
        if "class" in self.heads:
            losses["class"] = functional.cross_entropy(self.heads["class"](features), labels)
        if "rotation" in self.heads:
            turned, turns = rotated(images)
            losses["rotation"] = functional.cross_entropy(
                self.heads["rotation"](self.trunk(turned)), turns
            )
        return losses


class GAN(nn.Module):
    """Generator and discriminator, trained against each other by `mtl_lib.training.fit`.

    ``losses`` has the tasks of both players, by names that begin with ``D`` or ``G``. The losses of
    one player give no gradient to the other, so one backward pass serves both: a *simultaneous*
    step (L. Mescheder, A. Geiger, S. Nowozin, "Which Training Methods for GANs do actually
    Converge?", ICML 2018, section 2), with the same fakes for both.

    The adversarial losses are hinges (J. H. Lim, J. C. Ye, "Geometric GAN", arXiv:1705.02894,
    2017), with the score D of an image:
    ``D real = mean max(0, 1 - D(real)) + mean max(0, 1 + D(fake))``, ``G real = -mean D(fake)``.
    For an auxiliary task, ``D task`` is its loss on real images and ``G task`` its loss on fakes.

    Args:
        generator: draws.
        discriminator: judges.
        averaging: share that the running mean of the generator keeps in each step.

    Example:
        >>> from mtl_lib.training import fit
        >>> gan = GAN(
        ...     AdversarialGenerator(1, 10, size=28),
        ...     AdversarialDiscriminator(1, 10, size=28, tasks=["class"]),
        ... )
        >>> batch = {"images": torch.rand(8, 1, 28, 28), "labels": torch.arange(8)}
        >>> history = fit(gan, lambda step: batch, steps=2, optimizer=gan.adam())
        >>> list(history.losses)
        ['D real', 'D class', 'G real', 'G class']
        >>> gan.average.draw(torch.arange(3)).shape
        torch.Size([3, 1, 28, 28])
    """

    def __init__(
        self,
        generator: AdversarialGenerator,
        discriminator: AdversarialDiscriminator,
        averaging: float = 0.95,
    ) -> None:
        super().__init__()
        self.generator, self.discriminator = generator, discriminator
        # A running mean forgives a single step: Y. Yazıcı et al., "The Unusual Effectiveness of
        # Averaging in GAN Training", ICLR 2019.
        rule = get_ema_multi_avg_fn(averaging)  # type: ignore[no-untyped-call]
        self.averaged = AveragedModel(generator, multi_avg_fn=rule)
        self.averaged.requires_grad_(False)

    @property
    def average(self) -> AdversarialGenerator:
        """The generator, averaged over its last steps, which is what to draw with."""
        average = self.averaged.module
        assert isinstance(average, AdversarialGenerator)
        return average

    def shared_parameters(self) -> list[nn.Parameter]:
        """Parameters of the generator's last layer, where `LastLayerWeight` compares gradients."""
        return [*self.generator.head.parameters()]

    def adam(
        self,
        learning_rate: float = 0.005,
        betas: tuple[float, float] = (0.0, 0.9),
        *,
        ratio: float = 1.0,
    ) -> torch.optim.Adam:
        """An optimiser for both players that moves the running mean after each step.

        Args:
            learning_rate: of the generator.
            betas: of Adam; without momentum by default, which a game does not forgive.
            ratio: of the discriminator's learning rate to the generator's (M. Heusel et al., "GANs
                Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium",
                NeurIPS 2017).
        """
        players: list[dict[str, Any]] = [
            {"params": [*self.generator.parameters()]},
            {"params": [*self.discriminator.parameters()], "lr": ratio * learning_rate},
        ]
        adam = torch.optim.Adam(players, learning_rate, betas, fused=True)
        adam.register_step_post_hook(lambda *_: self.averaged.update_parameters(self.generator))
        return adam

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The losses of both players, ``{"D real", "D task", ..., "G real", "G task", ...}``.

        Noise and wanted classes are drawn anew.

        Args:
            batch: ``"images"`` ``(n, channels, size, size)`` in [0, 1] and ``"labels"`` ``(n,)``.
        """
        images, labels = batch["images"], batch["labels"]
        z = torch.randn(len(images), self.generator.noise, device=images.device)
        wanted = torch.randint_like(labels, self.generator.classes)
        fakes = self.generator(z, wanted)
        return {
            **self.discriminator_losses(images, labels, fakes.detach(), wanted),
            **self.generator_losses(fakes, wanted),
        }

    def discriminator_losses(
        self, images: Tensor, labels: Tensor, fakes: Tensor, wanted: Tensor
    ) -> dict[str, Tensor]:
        """``{"D real": scalar, "D task": scalar, ...}``, of fakes without a graph."""
        features, theirs = self.discriminator.trunk(torch.cat([images, fakes])).chunk(2)
        below = functional.relu(1 - self.discriminator.real(features, labels)).mean()
        above = functional.relu(1 + self.discriminator.real(theirs, wanted)).mean()
        auxiliary = self.discriminator.auxiliary_losses(images, features, labels)
        return {"D real": below + above, **{f"D {task}": v for task, v in auxiliary.items()}}

    def generator_losses(self, fakes: Tensor, wanted: Tensor) -> dict[str, Tensor]:
        """``{"G real": scalar, "G task": scalar, ...}``; the discriminator gets no gradient."""
        with _fixed(self.discriminator):
            features = self.discriminator.trunk(fakes)
            score = self.discriminator.real(features, wanted).mean()
            auxiliary = self.discriminator.auxiliary_losses(fakes, features, wanted)
        return {"G real": -score, **{f"G {task}": v for task, v in auxiliary.items()}}


class LastLayerWeight(Balancer):
    """Weigh one loss so that its gradient at the last layer is as long as that of another.

    ``λ = share · ‖∇ main‖ / (‖∇ task‖ + 1e-4)``, at most 1e4, taken as a constant; all losses but
    ``task`` have the weight 1.

    Reference: P. Esser, R. Rombach, B. Ommer, "Taming Transformers for High-Resolution Image
    Synthesis", CVPR 2021, section 3.1. There the reconstruction is ``main`` and the adversarial
    loss is ``task``. The constant, the bound and the factor ``share`` are those of its code.

    Args:
        main: the loss whose gradient sets the scale.
        task: the loss to weigh.
        share: length of the weighted gradient, as a share of that of ``main``.

    Example:
        >>> x = torch.ones(1, requires_grad=True)
        >>> balancer = LastLayerWeight("a", "b", share=0.5)
        >>> weights = balancer.backward({"a": 8 * x.sum(), "b": 2 * x.sum()}, shared=[x])
        >>> round(float(weights["b"]), 2), round(float(x.grad), 2)
        (2.0, 12.0)
    """

    def __init__(self, main: str, task: str, share: float = 1.0) -> None:
        super().__init__()
        self.main, self.task, self.share = main, task, share

    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[Tensor] = ()
    ) -> dict[str, Tensor]:
        """As `Balancer.backward`; ``shared`` is the last layer.

        Raises:
            ValueError: one of the two losses is missing, one is no scalar, or no layer is given.
        """
        missing = {self.main, self.task} - set(losses)
        if missing:
            raise ValueError(
                f"losses has {sorted(losses)} and lacks {sorted(missing)}: name losses that the "
                "model has."
            )
        check_losses(losses)
        last = [*shared]
        check_shared(last)
        main, task = (
            average(flat_gradient(losses[name], last)).norm() for name in (self.main, self.task)
        )
        weights = {name: torch.ones_like(loss) for name, loss in losses.items()}
        weights[self.task] = (self.share * main / (task + 1e-4)).clamp(max=1e4)
        torch.autograd.backward(list(losses.values()), list(weights.values()))
        return weights


def rotated(images: Tensor) -> tuple[Tensor, Tensor]:
    """Turn each image by no, one, two or three quarters, in turn: ``(n, c, s, s), (n,)``.

    Args:
        images: square ones, ``(n, channels, size, size)``.

    Returns:
        The turned images, and by how many quarter turns, counter-clockwise; in another order.
    """
    parts = [torch.rot90(images[turns::4], turns, (2, 3)) for turns in range(4)]
    turns = [torch.full((len(part),), number) for number, part in enumerate(parts)]
    return torch.cat(parts), torch.cat(turns).to(images.device)


@contextmanager
def _fixed(module: nn.Module) -> Iterator[None]:
    """What is computed inside gives the module's parameters no gradient."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    for parameter in parameters:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in parameters:
            parameter.requires_grad_(True)
