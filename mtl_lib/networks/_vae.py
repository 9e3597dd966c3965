"""Variational autoencoders, of one kind of image or of several that show the same thing."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from mtl_lib.networks._blocks import Decoder, Encoder, ImageHead
from mtl_lib.networks._sharing import module_dict

__all__ = ["VAE", "calibrated_error", "image_vae", "kl_to_prior", "squared_error"]


def squared_error(image: Tensor, target: Tensor) -> Tensor:
    """½ Σ (image − target)², the mean over images: nats an image, of noise with variance 1.

    It is the negative log-likelihood of a Gaussian around the drawn pixels without its constant,
    (N/2) log 2π for N numbers an image.

    Args:
        image: what was drawn, ``(n, ...)``.
        target: the same shape.

    Example:
        >>> squared_error(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)).item()
        24.0
    """
    return 0.5 * (image - target).square().sum() / len(image)


def calibrated_error(image: Tensor, target: Tensor) -> Tensor:
    """(N/2) log MSE, for N numbers an image: nats an image, of noise with the likeliest variance.

    The variance σ² that makes the batch most likely is its mean squared error; put into
    ``squared_error / σ² + (N/2) log σ²``, it leaves N/2, a constant that is dropped here, and this.
    So the gradient is that of ``squared_error`` divided by σ², and a VAE with this error and the
    weight 1 for its code goes where one with ``squared_error`` and the weight β = σ² goes. It may
    be negative.

    Reference: O. Rybkin, K. Daniilidis, S. Levine, "Simple and Effective VAE Training with
    Calibrated Decoders", ICML 2021, the optimal σ-VAE. They count Σ (image − target)²
    without the half, so that their β is 2 σ², and their code keeps σ above e⁻⁶; ours does not.

    Args:
        image: what was drawn, ``(n, ...)``.
        target: the same shape.

    Example:
        >>> calibrated_error(torch.zeros(2, 3, 4, 4), torch.ones(2, 3, 4, 4)).item()
        0.0
    """
    return 0.5 * image[0].numel() * (image - target).square().mean().log()


def kl_to_prior(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL divergence of normal distributions from N(0, 1): ``(n, code) -> (n, code)``, in nats.

    Reference: D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, appendix B.

    Example:
        >>> kl_to_prior(torch.tensor([[0.0, 2.0]]), torch.zeros(1, 2))
        tensor([[0., 2.]])
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance)


class VAE(nn.Module):
    """Images of one or several modalities of the same thing, in and out through one random code.

    Each modality has an encoder and a decoder of its own, and they meet in the code. What the code
    may be, given some of the modalities, is the product of what each of their encoders says and of
    the prior N(0, 1), normal distributions all, so that precisions add up. Without any modality it
    is the prior, and one alone is the ordinary VAE.

    Training has one task for each modality, to be drawn, and the task ``"code"``, to stay near the
    prior. For every thing in a batch a subset of the modalities is chosen at random, any but the
    empty one, and *all* of them are drawn from the code of these, so that each learns to do without
    the others.

    References: D. P. Kingma, M. Welling, "Auto-Encoding Variational Bayes", ICLR 2014, eq. 10. The
    product of experts is that of M. Wu, N. Goodman, "Multimodal Generative Models for Scalable
    Weakly-Supervised Learning", NeurIPS 2018. The mean over subsets follows T. M.
    Sutter, I. Daunhawer, J. E. Vogt, "Generalized Multimodal ELBO", ICLR 2021, who take the KL
    divergence of the mixture over subsets; ours is the mean of the subsets' divergences, estimated
    with one for each thing. By convexity it is never smaller, so our bound is never above theirs.

    Args:
        encoders: ``{modality: (n, ...) -> (n, 2 * code)}``, mean and log variance.
        decoders: ``{modality: (n, code) -> (n, ...)}``, the same names.
        code: numbers a code.
        error: from what was drawn and what should have been to nats an image, a scalar.

    Raises:
        ValueError: no modality, names that differ, or a modality called ``"code"``.

    Example:
        >>> model = image_vae({"rgb": 3, "depth": 1}, 8, size=16)
        >>> batch = {"rgb": torch.zeros(5, 3, 16, 16), "depth": torch.zeros(5, 1, 16, 16)}
        >>> list(model.losses(batch))
        ['rgb', 'depth', 'code']
        >>> mean, log_variance = model.encode({"rgb": batch["rgb"]})
        >>> model.decode(mean)["depth"].shape
        torch.Size([5, 1, 16, 16])
    """

    def __init__(
        self,
        encoders: Mapping[str, nn.Module],
        decoders: Mapping[str, nn.Module],
        code: int,
        error: Callable[[Tensor, Tensor], Tensor] = calibrated_error,
    ) -> None:
        super().__init__()
        if set(encoders) != set(decoders) or "code" in encoders:
            raise ValueError(
                f"encoders are of {sorted(encoders)} and decoders of {sorted(decoders)}: give both "
                'for each modality, and call none "code", the name of the task of the code.'
            )
        self.encoders = module_dict("encoders", encoders)
        self.decoders = module_dict("decoders", decoders)
        self.code = code
        self.error = error

    @property
    def modalities(self) -> tuple[str, ...]:
        """Their names."""
        return tuple(self.encoders)

    def encode(
        self, images: Mapping[str, Tensor], given: Mapping[str, Tensor] | None = None
    ) -> tuple[Tensor, Tensor]:
        """Say where the code of each thing may lie: mean and log variance, both ``(n, code)``.

        Args:
            images: ``{modality: (n, ...)}`` of those that are known; other names are passed over.
            given: ``{modality: (n,)}``, whether it counts for this thing; without, all do.

        Raises:
            ValueError: no modality of this model among the images.
        """
        known = [name for name in self.modalities if name in images]
        if not known:
            raise ValueError(
                f"images has {sorted(images)}, wanted one or more of {', '.join(self.modalities)}: "
                "without any, the code has the distribution N(0, 1); see `sample`."
            )
        experts = [self.encoders[name](images[name]).chunk(2, dim=1) for name in known]
        means = torch.stack([mean for mean, _ in experts])
        precisions = torch.stack([(-log_variance).exp() for _, log_variance in experts])
        if given is not None:
            precisions = precisions * torch.stack([given[name] for name in known])[..., None]
        precision = 1 + precisions.sum(0)  # 1 is the prior's
        return (precisions * means).sum(0) / precision, -precision.log()

    def decode(self, code: Tensor) -> dict[str, Tensor]:
        """Draw all modalities: ``(n, code) -> {modality: (n, ...)}``."""
        return {name: decoder(code) for name, decoder in self.decoders.items()}

    def forward(self, images: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Draw all modalities from those that are known, with the mean of the code."""
        return self.decode(self.encode(images)[0])

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{modality: error, "code": KL divergence}`` in nats an image.

        Their plain sum is the negative evidence lower bound, up to the constants that the error
        drops; ``Fixed({"code": beta})`` makes it that of a β-VAE (I. Higgins et al., "beta-VAE",
        ICLR 2017, eq. 4).
        """
        mean, log_variance = self.encode(batch, self._subsets(batch))
        code = mean + (0.5 * log_variance).exp() * torch.randn_like(mean)
        errors = {name: self.error(image, batch[name]) for name, image in self.decode(code).items()}
        return {**errors, "code": kl_to_prior(mean, log_variance).sum(1).mean()}

    @torch.no_grad()
    def sample(self, n: int, generator: torch.Generator | None = None) -> dict[str, Tensor]:
        """Draw n new things in all modalities.

        Args:
            n: how many.
            generator: of random numbers, on the processor, whatever the model's device.
        """
        code = torch.randn(n, self.code, generator=generator)
        return self.decode(code.to(next(self.parameters())))

    def shared_parameters(self) -> list[nn.Parameter]:
        """The encoders: every task reads the code that they make; a decoder has one task."""
        return list(self.encoders.parameters())

    def task_parameters(self, task: str) -> list[nn.Parameter]:
        """The decoder of a modality; the task ``"code"`` has no parameters of its own.

        Raises:
            ValueError: an unknown task.
        """
        if task not in (*self.modalities, "code"):
            raise ValueError(
                f"task {task!r} is unknown: choose among {', '.join(self.modalities)}, code."
            )
        return [] if task == "code" else list(self.decoders[task].parameters())

    def _subsets(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
        """A subset of the modalities for each thing, all but the empty one equally likely."""
        if len(self.modalities) == 1:
            return None
        first = batch[self.modalities[0]]
        subsets = torch.randint(1, 2 ** len(self.modalities), first.shape[:1]).to(first.device)
        return {name: (subsets >> i & 1).to(first) for i, name in enumerate(self.modalities)}


def image_vae(
    modalities: Mapping[str, int],
    code: int,
    *,
    size: int,
    width: int = 16,
    hidden: int = 64,
    error: Callable[[Tensor, Tensor], Tensor] = calibrated_error,
) -> VAE:
    """A VAE of small convolutional networks, an `Encoder` and a `Decoder` for each modality.

    Args:
        modalities: ``{modality: channels of its images}``.
        code: numbers a code.
        size: height and width of the images, a multiple of 4.
        width: channels of the encoder's first maps and of the decoder's last ones, a multiple of 8.
        hidden: numbers between the code and the decoder's first maps.
        error: see `VAE`.

    Raises:
        ValueError: no modality, or a size or width that is not such a multiple.

    Example:
        >>> image_vae({"rgb": 3}, 8, size=28).sample(2)["rgb"].shape
        torch.Size([2, 3, 28, 28])
    """
    encoders = {
        name: Encoder(channels, 2 * code, size=size, width=width)
        for name, channels in modalities.items()
    }
    decoders = {
        name: nn.Sequential(
            nn.Linear(code, hidden),
            nn.SiLU(),
            Decoder(hidden, size=size, width=width),
            ImageHead(width, channels),
        )
        for name, channels in modalities.items()
    }
    return VAE(encoders, decoders, code, error)
