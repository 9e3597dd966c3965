"""What every balancing method has in common."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping

from torch import Tensor, nn

__all__ = ["Balancer", "check_losses"]


class Balancer(nn.Module, ABC):
    """A rule that turns the losses of several tasks into gradients.

    It is a module, so that what it learns stands in ``parameters()``, for the optimiser, and what
    it remembers in ``state_dict()``, for the checkpoint.
    """

    @abstractmethod
    def backward(
        self, losses: Mapping[str, Tensor], shared: Iterable[nn.Parameter] = ()
    ) -> dict[str, Tensor]:
        """Add gradients to ``.grad`` of everything that the losses depend on.

        Args:
            losses: ``{task: scalar}``, with the graph that made them, which is used up.
            shared: the parameters that all tasks share. Methods that only weigh losses do not
                look at them.

        Returns:
            ``{task: weight}``, scalars without a graph: the factor that each loss had in this step.

        Raises:
            ValueError: no loss, one that is not a scalar, or tasks that the method does not know.
        """

    def after_step(self, losses: Callable[[], Mapping[str, Tensor]]) -> None:
        """Look at what the optimiser's step did; called after it, and nothing by default.

        Args:
            losses: computes the losses of the same batch with the new parameters.
        """


def check_losses(losses: Mapping[str, Tensor]) -> None:
    """Refuse anything but ``{task: scalar}``."""
    if not losses:
        raise ValueError("losses is empty: give one scalar tensor for each task.")
    for task, loss in losses.items():
        if loss.ndim:
            raise ValueError(
                f"losses[{task!r}] has shape {tuple(loss.shape)}, wanted a scalar: "
                "take its mean, or the sum, and mind that the choice is a weight."
            )
