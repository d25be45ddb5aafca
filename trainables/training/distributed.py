"""The processes (workers) that train one trial together: how they split batches and exchange results.

Every worker runs the whole of `loop.fit`, with a copy of the network, on its part of each batch. `batch` in the
configuration is the size of the whole batch, so the results do not depend on the number of workers:

- Every worker draws the order and the masks of a whole epoch, then takes its part of each batch.
- A loss is a mean over the whole batch. A worker computes the mean over its part and scales it so that *the mean over
  the workers* is the mean over the batch (`scale`, `scale_of`). DistributedDataParallel averages gradients over the
  workers and so gives the gradient of the whole batch, also with uneven and empty parts. The loss terms that a step
  records are scaled in the same way.
- Metrics are added up as sums and counts.

The runner initialises `torch.distributed` beforehand: gloo on CPUs, nccl on GPUs. torch is imported inside functions,
because a driver imports this module too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from trainables.errors import TrialError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

DDP_OPTIONS: dict[str, Any] = {"find_unused_parameters": True, "gradient_as_bucket_view": True}
"""Options of DistributedDataParallel. The first one keeps its first gradient buckets: without it, the buckets are built
again after one step and sums have another order, so that a resumed trial with three workers would differ in the last
bits. The second one saves a copy of all gradients; it changes no number."""


@dataclass(frozen=True)
class Workers:
    """The workers of a trial, as seen by one of them."""

    rank: int = 0
    """Index of this worker: 0, 1, ..."""
    size: int = 1
    """Number of workers."""
    device: str = "cpu"
    """Device of the tensors that are exchanged."""
    wrap: Callable[[nn.Module], nn.Module] | None = None
    """Wraps a module so that its gradients are averaged over the workers; None for DistributedDataParallel."""

    @property
    def leads(self) -> bool:
        """Whether this worker writes the results."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module to call for a forward pass with gradients; the module itself if there is one worker."""
        if self.size == 1:
            return module
        if self.wrap is not None:
            return self.wrap(module)
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module, **DDP_OPTIONS)

    # --- parts of a batch ---------------------------------------------------------------------------------------------

    def part(self, index_n: Tensor) -> Tensor:
        """This worker's part of a batch or a split; may be empty if there are fewer images than workers."""
        return index_n if self.size == 1 else index_n.tensor_split(self.size)[self.rank]

    def place(self, everywhere: int) -> BatchPart:
        """The position of this worker's part in a batch of `everywhere` images."""
        each, more = divmod(everywhere, self.size)
        start = self.rank * each + min(self.rank, more)
        return BatchPart(self, start, start + each + (self.rank < more), everywhere)

    def scale(self, here: int, everywhere: int) -> float:
        """Factor for a mean over `here` of the batch's `everywhere` elements; 1 for equal parts."""
        return self.size * here / everywhere

    def scale_of(self, count: Tensor) -> Tensor:
        """Factor as in `scale` for this worker's count, with the total summed over the workers; 0 if the total is 0."""
        if self.size == 1:
            return count.new_ones(())
        everywhere = self.sum(count.detach().clone())
        return self.size * count / everywhere.clamp(min=1)

    # --- agreeing -----------------------------------------------------------------------------------------------------

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the workers, in place."""
        return self._reduce(values, "SUM")

    def max(self, value: float) -> float:
        """The largest value among the workers."""
        if self.size == 1:
            return value
        import torch

        return float(self._reduce(torch.tensor(value, dtype=torch.float64, device=self.device), "MAX"))

    def min(self, value: Tensor) -> Tensor:
        """The smallest value among the workers, in place."""
        return self._reduce(value, "MIN")

    def _reduce(self, values: Tensor, operation: str) -> Tensor:
        if self.size > 1:
            from torch import distributed

            distributed.all_reduce(values, getattr(distributed.ReduceOp, operation))
        return values

    def broadcast(self, value: Any) -> Any:
        """Worker 0's value, on every worker. The value must be picklable."""
        if self.size == 1:
            return value
        import torch
        from torch import distributed

        values = [value if self.leads else None]
        distributed.broadcast_object_list(values, device=torch.device(self.device))
        return values[0]

    def sync_buffers(self, module: nn.Module) -> None:
        """Copy the buffers of worker 0's module, such as running statistics, to every worker."""
        if self.size > 1:
            from torch import distributed

            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)

    def run_together(self, act: Callable[[], T]) -> T:
        """Call a function that may fail on one machine only, such as reading data; all workers raise its TrialError."""
        if self.size == 1:
            return act()
        from torch import distributed

        value, error = None, None
        try:
            value = act()
        except TrialError as mistake:
            error = mistake
        errors: list[TrialError | None] = [None] * self.size
        distributed.all_gather_object(errors, error)
        first = next((item for item in errors if item is not None), None)
        if first is not None:
            shared = error or first
            shared.everywhere = True
            raise shared
        return value  # type: ignore[return-value]


@dataclass(frozen=True)
class BatchPart:
    """The position of one worker's part in a batch; see `Workers.part`."""

    workers: Workers
    start: int
    """Index of the part's first image in the batch."""
    stop: int
    """Index after its last image."""
    whole: int
    """Number of images in the batch."""

    @property
    def images(self) -> int:
        """Number of images in the part."""
        return self.stop - self.start

    @property
    def scale(self) -> float:
        """Factor for a mean over the images of the part: the mean over the workers is then that of the batch."""
        return self.workers.scale(self.images, self.whole)

    def mean(self, values: Tensor) -> Tensor:
        """The mean of values of the part's images, times `scale`; if there are no images, 0 with a graph."""
        if self.workers.size == 1:
            return values.mean()
        return values.mean() * self.scale if self.images else values.sum()

    def of(self, x_wn: Tensor) -> Tensor:
        """This worker's rows of a tensor with the rows of the whole batch."""
        return x_wn if self.workers.size == 1 else x_wn[self.start : self.stop]

    def rows(self, x_bn: Tensor) -> Tensor:
        """x_wn: the rows of all workers; gradients flow to this worker's rows only."""
        if self.workers.size == 1:
            return x_bn
        all_wn = x_bn.new_zeros(self.whole, *x_bn.shape[1:])
        all_wn[self.start : self.stop] = x_bn.detach()
        all_wn = self.workers.sum(all_wn)
        import torch

        return torch.cat([all_wn[: self.start], x_bn, all_wn[self.stop :]])

    def shared(self, term: Tensor) -> Tensor:
        """A loss term that every worker computed over the whole batch, with its gradient rescaled.

        The value is unchanged. The gradient, which flows through this worker's rows only, is scaled like that of a mean
        over this worker's images, so that the workers' gradients are weighted as for other terms.
        """
        if self.workers.size == 1 or not self.images:
            return term
        return term.detach() + (term - term.detach()) * (self.whole / self.images)
