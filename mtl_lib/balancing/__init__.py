"""From the losses of several tasks to one backward step.

Every method is a `Balancer`: ``balancer.backward(losses, shared=...)`` takes the place of
``loss.backward()``. A `Scalarization` turns the losses into one loss.
"""

from mtl_lib.balancing._balancer import Balancer
from mtl_lib.balancing._scalarization import Fixed, Scalarization

__all__ = ["Balancer", "Fixed", "Scalarization"]
