"""Networks of the book: what tasks share, and the blocks that read and draw images."""

from mtl_lib.networks._blocks import Decoder, Encoder, ImageHead, conv_block
from mtl_lib.networks._conditional import ConditionalNorm, ConditionalSharing, FiLM
from mtl_lib.networks._diffusion import (
    Diffusion,
    JointDiffusion,
    UNet,
    ddim,
    min_snr,
    noised,
    signal_and_noise,
    velocity,
)
from mtl_lib.networks._gan import (
    GAN,
    AdversarialDiscriminator,
    AdversarialGenerator,
    LastLayerWeight,
    rotated,
)
from mtl_lib.networks._models import MultiTaskDecoder, StyledDecoder
from mtl_lib.networks._readers import Classifier, FactorReader
from mtl_lib.networks._sharing import (
    CrossStitch,
    HardSharing,
    MMoE,
    Sharing,
    count_flops,
    count_parameters,
    split_sharing,
)
from mtl_lib.networks._vae import VAE, calibrated_error, image_vae, kl_to_prior, squared_error

__all__ = [
    "Sharing",
    "HardSharing",
    "split_sharing",
    "CrossStitch",
    "MMoE",
    "ConditionalSharing",
    "MultiTaskDecoder",
    "Classifier",
    "FactorReader",
    "StyledDecoder",
    "UNet",
    "Diffusion",
    "JointDiffusion",
    "signal_and_noise",
    "noised",
    "velocity",
    "min_snr",
    "ddim",
    "ConditionalNorm",
    "FiLM",
    "GAN",
    "AdversarialGenerator",
    "AdversarialDiscriminator",
    "LastLayerWeight",
    "rotated",
    "Encoder",
    "Decoder",
    "ImageHead",
    "conv_block",
    "VAE",
    "image_vae",
    "squared_error",
    "calibrated_error",
    "kl_to_prior",
    "count_parameters",
    "count_flops",
]
