"""From the losses of several tasks to one backward step.

Every method is a `Balancer`: ``balancer.backward(losses, shared=...)`` takes the place of
``loss.backward()``. A `Scalarization` turns the losses into one loss. An `Aggregation` turns the
gradients of the shared parameters, one a task, into one direction.
"""

from mtl_lib.balancing._aggregation import (
    IMTLG,
    MGDA,
    Aggregation,
    AlignedMTL,
    CAGrad,
    ConFIG,
    Mean,
    NashMTL,
    PCGrad,
    UPGrad,
)
from mtl_lib.balancing._balancer import Balancer, through
from mtl_lib.balancing._scalarization import (
    DWA,
    FAMO,
    RLW,
    Fixed,
    GeometricMean,
    GradNorm,
    Scalarization,
    SmoothTchebycheff,
    Uncertainty,
)

__all__ = [
    "Balancer",
    "Scalarization",
    "Fixed",
    "Uncertainty",
    "DWA",
    "GradNorm",
    "FAMO",
    "RLW",
    "GeometricMean",
    "SmoothTchebycheff",
    "Aggregation",
    "Mean",
    "MGDA",
    "PCGrad",
    "CAGrad",
    "IMTLG",
    "NashMTL",
    "AlignedMTL",
    "ConFIG",
    "UPGrad",
    "through",
]
