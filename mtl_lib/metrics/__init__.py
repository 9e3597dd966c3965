"""How good is a generated image? And how good are many of them?

Four questions, and what answers each:

- Is it the image that was asked for? ``mse``, ``psnr``, ``ssim``: only where there is a target.
- Are the images of several tasks images of one thing? ``iou``, ``depth_parts_iou``, with
  ``shuffled`` for the level of chance; ``figurine_factors``, face against body. What did training
  them together bring? ``delta_m``.
- Does a set of images look like the real ones? ``fid``, ``kid``, ``precision_recall``, on features
  such as ``fashion_features``; ``gan_train`` and ``gan_test`` where images have labels.
- Is it more than a copy of the training data? ``data_copying``, ``memorized``.
"""

from mtl_lib.metrics._classifiers import accuracy, gan_test, gan_train, train_classifier
from mtl_lib.metrics._features import fashion_features, figurine_factors, figurine_features
from mtl_lib.metrics._paired import mse, psnr, ssim
from mtl_lib.metrics._sets import (
    PrecisionRecall,
    data_copying,
    fid,
    kid,
    memorized,
    precision_recall,
    resemblance,
)
from mtl_lib.metrics._tasks import delta_m, depth_parts_iou, iou, shuffled

__all__ = [
    "mse",
    "psnr",
    "ssim",
    "iou",
    "depth_parts_iou",
    "shuffled",
    "delta_m",
    "fid",
    "kid",
    "precision_recall",
    "PrecisionRecall",
    "resemblance",
    "fashion_features",
    "figurine_features",
    "figurine_factors",
    "train_classifier",
    "accuracy",
    "gan_train",
    "gan_test",
    "data_copying",
    "memorized",
]
