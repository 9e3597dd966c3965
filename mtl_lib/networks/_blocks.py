"""Encoder, decoder and output layer: small convolutional blocks for images of 16 to 128 pixels."""

from torch import nn

__all__ = ["Decoder", "Encoder", "ImageHead", "conv_block"]

_GROUPS = 8  # of the normalisation; widths are multiples of it


def conv_block(channels: int, out_channels: int, *, stride: int = 1) -> nn.Sequential:
    """3×3 convolution, group normalisation in 8 groups, SiLU.

    ``(n, channels, h, w) -> (n, out_channels, ceil(h / stride), ceil(w / stride))``. Normalisation
    is by group and not by batch, so that an image does not depend on its neighbours in the batch
    (Y. Wu, K. He, "Group Normalization", ECCV 2018).

    Args:
        channels: of the input.
        out_channels: a multiple of 8.
        stride: of the convolution.

    Raises:
        ValueError: ``out_channels`` is not a multiple of 8.
    """
    _check_multiple("out_channels", out_channels, _GROUPS)
    return nn.Sequential(
        nn.Conv2d(channels, out_channels, 3, stride, padding=1, bias=False),
        nn.GroupNorm(_GROUPS, out_channels),
        nn.SiLU(),
    )


class Encoder(nn.Sequential):
    """Squeeze images into codes: ``(n, channels, size, size) -> (n, code)``.

    Two strided convolutions divide the sides by four, one more looks at the result, and a linear
    layer makes the code.

    Args:
        channels: of the images.
        code: numbers a code.
        size: height and width of the images, a multiple of 4.
        width: channels after the first convolution, a multiple of 8; twice as many follow.

    Raises:
        ValueError: a size or width that is not such a multiple.

    Example:
        >>> Encoder(1, 16, size=28)(torch.zeros(2, 1, 28, 28)).shape
        torch.Size([2, 16])
    """

    def __init__(self, channels: int, code: int, *, size: int, width: int = 8) -> None:
        _check_multiple("size", size, 4)
        super().__init__(
            conv_block(channels, width, stride=2),
            conv_block(width, 2 * width, stride=2),
            conv_block(2 * width, 2 * width),
            nn.Flatten(),
            nn.Linear(2 * width * (size // 4) ** 2, code),
        )


class Decoder(nn.Sequential):
    """Unfold codes into maps of features: ``(n, code) -> (n, width, size / 2, size / 2)``.

    A linear layer lays out a small map, and a transposed convolution doubles its sides. The kernel
    of 4 is a multiple of the stride of 2, so that every pixel gets as many contributions as its
    neighbours and no checkerboard appears (A. Odena, V. Dumoulin, C. Olah, "Deconvolution and
    Checkerboard Artifacts", Distill, 2016). The last doubling is left to the output layer,
    `ImageHead`.

    Args:
        code: numbers a code.
        size: height and width of the images to draw, a multiple of 4.
        width: channels of the maps, a multiple of 8; twice as many before.

    Raises:
        ValueError: a size or width that is not such a multiple.

    Example:
        >>> Decoder(16, size=28)(torch.zeros(2, 16)).shape
        torch.Size([2, 16, 14, 14])
    """

    def __init__(self, code: int, *, size: int, width: int = 16) -> None:
        _check_multiple("size", size, 4)
        _check_multiple("width", width, _GROUPS)
        side = size // 4
        super().__init__(
            nn.Linear(code, 2 * width * side**2),
            nn.Unflatten(1, (2 * width, side, side)),
            nn.GroupNorm(_GROUPS, 2 * width),
            nn.SiLU(),
            nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
            nn.GroupNorm(_GROUPS, width),
            nn.SiLU(),
        )


class ImageHead(nn.Sequential):
    """Output layer of one task: ``(n, width, h, w) -> (n, channels, 2 h, 2 w)`` in (0, 1).

    One convolution computes the four pixels of each position, and a shuffle lays them out
    (W. Shi et al., "Real-Time Single Image and Video Super-Resolution Using an Efficient Sub-Pixel
    Convolutional Neural Network", CVPR 2016, its sub-pixel convolution layer): a quarter of the
    work of a convolution at full size.

    Args:
        width: channels of the features.
        channels: of the images.

    Example:
        >>> ImageHead(16, 3)(torch.zeros(2, 16, 14, 14)).shape
        torch.Size([2, 3, 28, 28])
    """

    def __init__(self, width: int, channels: int) -> None:
        super().__init__(
            nn.Conv2d(width, 4 * channels, 3, padding=1), nn.PixelShuffle(2), nn.Sigmoid()
        )


def _check_multiple(name: str, value: int, of: int) -> None:
    if value < 1 or value % of:
        raise ValueError(f"{name} is {value}, wanted a multiple of {of}: choose another.")
