"""Whole models that several chapters train."""

from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn
from torch.nn import functional

from mtl_lib.networks._blocks import Decoder, ImageHead
from mtl_lib.networks._conditional import ConditionalNorm, ConditionalSharing
from mtl_lib.networks._sharing import HardSharing

__all__ = ["MultiTaskDecoder", "StyledDecoder"]


class MultiTaskDecoder(HardSharing):
    """Numbers in, one image for each task out, each task with its own loss.

    ``(n, inputs) -> {task: (n, channels, size, size)}`` in (0, 1).

    Args:
        inputs: numbers that describe an image.
        tasks: ``{task: (channels, loss)}``, where ``loss(image, target)`` is a scalar.
        size: height and width of the images, a multiple of 4.
        hidden: width of the first layer.
        width: channels of the maps that the heads read, a multiple of 8.

    Raises:
        ValueError: no task, or a size or width that is not such a multiple.

    Example:
        >>> from torch.nn import functional
        >>> model = MultiTaskDecoder(5, {"depth": (1, functional.l1_loss)}, size=16)
        >>> batch = {"x": torch.zeros(2, 5), "depth": torch.ones(2, 1, 16, 16)}
        >>> list(model.losses(batch)), model(batch["x"])["depth"].shape
        (['depth'], torch.Size([2, 1, 16, 16]))
    """

    def __init__(
        self,
        inputs: int,
        tasks: Mapping[str, tuple[int, Callable[[Tensor, Tensor], Tensor]]],
        *,
        size: int,
        hidden: int = 64,
        width: int = 16,
    ) -> None:
        trunk = nn.Sequential(
            nn.Linear(inputs, hidden), nn.SiLU(), Decoder(hidden, size=size, width=width)
        )
        heads = {task: ImageHead(width, channels) for task, (channels, _) in tasks.items()}
        super().__init__(trunk, heads)
        self._losses = {task: loss for task, (_, loss) in tasks.items()}

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{task: scalar}`` for a batch of inputs ``"x"`` and a target for each task."""
        images = self(batch["x"])
        return {task: loss(images[task], batch[task]) for task, loss in self._losses.items()}


class StyledDecoder(ConditionalSharing):
    """Numbers in, one image in each style out, all by the same layers.

    ``(n, inputs) -> {style: (n, channels, size, size)}`` in (0, 1). A style owns nothing but a
    scale and a shift for each channel of the maps, ``6 * width`` numbers.

    Reference: V. Dumoulin, J. Shlens, M. Kudlur, "A Learned Representation for Artistic Style",
    ICLR 2017; here the images are drawn from numbers, not from other images.

    Args:
        inputs: numbers that describe an image.
        styles: their names.
        channels: of the images.
        size: height and width of the images, a multiple of 4.
        hidden: width of the first layer.
        width: channels of the last maps, a multiple of 8; twice as many before.

    Raises:
        ValueError: no style, or a size or width that is not such a multiple.

    Example:
        >>> model = StyledDecoder(5, ["day", "night"], 3, size=16)
        >>> model.add_style("dusk")
        >>> model(torch.zeros(2, 5), ["dusk"])["dusk"].shape
        torch.Size([2, 3, 16, 16])
        >>> sum(p.numel() for p in model.task_parameters("dusk"))
        96
    """

    def __init__(
        self,
        inputs: int,
        styles: Sequence[str],
        channels: int,
        *,
        size: int,
        hidden: int = 64,
        width: int = 16,
    ) -> None:
        trunk: list[nn.Module] = [nn.Linear(inputs, hidden), nn.SiLU()]
        for layer in Decoder(hidden, size=size, width=width):
            if isinstance(layer, nn.GroupNorm):
                layer = ConditionalNorm(layer.num_channels, len(styles))
            trunk.append(layer)
        head = ImageHead(width, channels)
        super().__init__(trunk, dict.fromkeys(styles, head))

    def add_style(self, style: str) -> None:
        """Add a style that starts at the mean of those there are.

        To learn it and leave all else as it is, train ``task_parameters(style)`` alone.

        Raises:
            ValueError: a style of that name exists.
        """
        if style in self.heads:
            raise ValueError(f"style {style!r} exists: choose another name.")
        self.heads[style] = self.heads[self.tasks[0]]
        for norm in self._norms():
            norm.add_condition()

    def losses(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{style: mean squared error}`` for the styles of which the batch has images.

        The batch holds inputs ``"x"``, and images ``(n, channels, size, size)`` by style.
        """
        styles = [style for style in self.tasks if style in batch]
        images = self(batch["x"], styles)
        return {style: functional.mse_loss(images[style], batch[style]) for style in styles}
