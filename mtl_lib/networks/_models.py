"""Whole models that several chapters train."""

from collections.abc import Callable, Mapping

from torch import Tensor, nn

from mtl_lib.networks._blocks import Decoder, ImageHead
from mtl_lib.networks._sharing import HardSharing

__all__ = ["MultiTaskDecoder"]


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
