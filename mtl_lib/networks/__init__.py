"""Networks of the book: what tasks share, and the blocks that encode and draw images."""

from mtl_lib.networks._blocks import Decoder, Encoder, ImageHead, conv_block
from mtl_lib.networks._models import MultiTaskDecoder
from mtl_lib.networks._sharing import HardSharing, count_parameters

__all__ = [
    "HardSharing",
    "MultiTaskDecoder",
    "Encoder",
    "Decoder",
    "ImageHead",
    "conv_block",
    "count_parameters",
]
