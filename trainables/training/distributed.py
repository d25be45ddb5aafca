"""The processes that train one trial together: what each takes, and how they agree. One process is the plain case.

Every worker runs the whole of `loop.fit`, with a copy of the network, on its part of each batch. The batch of the
configuration is the whole one, whatever the number of workers, so their numbers are those of one process:

- An epoch's order and masks are drawn whole by every worker, which then takes its part of each batch.
- A loss is a mean over the whole batch. A worker has the mean over its part, and scales it so that *the mean over the
  workers* is the mean over the batch (`scale`, `scale_of`): then DistributedDataParallel, which averages gradients over
  the workers, gives the gradient of the whole batch, uneven and empty parts included. So does what a step records.
- Metrics are added up as sums and counts.

The runner initialises `torch.distributed` beforehand: gloo on CPUs, nccl on GPUs. torch is imported where it is needed,
since a driver names these classes too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from trainables.errors import TrialError

if TYPE_CHECKING:
    from torch import Tensor, nn

T = TypeVar("T")

DDP_OPTIONS: dict[str, Any] = {"find_unused_parameters": True}
"""For DistributedDataParallel: its gradient buckets then stay as they were first cut. Otherwise it cuts them anew after
one step, sums in another order, and a trial of three workers that resumes would differ in the last bits."""


@dataclass(frozen=True)
class Workers:
    """The workers of a trial, seen from one of them.

    rank: 0, 1, ..., this one's. device: where tensors lie that are exchanged. wrap: makes a module whose gradients are
    averaged over the workers in each backward pass; None for torch's own DistributedDataParallel.
    """

    rank: int = 0
    size: int = 1
    device: str = "cpu"
    wrap: Callable[[nn.Module], nn.Module] | None = None

    @property
    def leads(self) -> bool:
        """Whether this is the worker that writes."""
        return self.rank == 0

    def prepare(self, module: nn.Module) -> nn.Module:
        """The module to call where gradients are wanted; the module itself with one worker."""
        if self.size == 1:
            return module
        if self.wrap is not None:
            return self.wrap(module)
        from torch.nn.parallel import DistributedDataParallel

        return DistributedDataParallel(module, **DDP_OPTIONS)

    # --- parts of a batch ---------------------------------------------------------------------------------------------

    def part(self, index_n: Tensor) -> Tensor:
        """This worker's part of a batch or a split; empty where there are fewer images than workers."""
        return index_n if self.size == 1 else index_n.tensor_split(self.size)[self.rank]

    def place(self, everywhere: int) -> Part:
        """Where this worker's part of a batch of so many images lies in it."""
        each, more = divmod(everywhere, self.size)
        start = self.rank * each + min(self.rank, more)
        return Part(self, start, start + each + (self.rank < more), everywhere)

    def scale(self, here: int, everywhere: int) -> float:
        """What a mean over `here` of the batch's `everywhere` elements is multiplied with; 1 for equal parts."""
        return self.size * here / everywhere

    def scale_of(self, count: Tensor) -> Tensor:
        """The same for a count that only the workers together know; 0 where all have none."""
        if self.size == 1:
            return count.new_ones(())
        everywhere = self.sum(count.detach().clone())
        return self.size * count / everywhere.clamp(min=1)

    # --- agreeing -----------------------------------------------------------------------------------------------------

    def sum(self, values: Tensor) -> Tensor:
        """The sum over the workers, in place."""
        return self._reduce(values, "SUM")

    def max(self, value: float) -> float:
        """The largest worker's value."""
        if self.size == 1:
            return value
        import torch

        return float(self._reduce(torch.tensor(value, dtype=torch.float64, device=self.device), "MAX"))

    def least(self, value: Tensor) -> Tensor:
        """The smallest worker's value, in place."""
        return self._reduce(value, "MIN")

    def _reduce(self, values: Tensor, operation: str) -> Tensor:
        if self.size > 1:
            from torch import distributed

            distributed.all_reduce(values, getattr(distributed.ReduceOp, operation))
        return values

    def told(self, value: Any) -> Any:
        """What worker 0 says, on every worker. value: worker 0's; anything that pickles."""
        if self.size == 1:
            return value
        import torch
        from torch import distributed

        said = [value if self.leads else None]
        distributed.broadcast_object_list(said, device=torch.device(self.device))
        return said[0]

    def spread(self, module: nn.Module) -> None:
        """Give every worker what worker 0's layers keep between batches, such as running statistics."""
        if self.size > 1:
            from torch import distributed

            for buffer in module.buffers():
                distributed.broadcast(buffer, 0)

    def together(self, act: Callable[[], T]) -> T:
        """Do something that can fail on one machine alone, such as reading data; its TrialError is then everyone's."""
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
            told = error or first
            told.everywhere = True
            raise told
        return value  # type: ignore[return-value]


@dataclass(frozen=True)
class Part:
    """Images `start` to `stop` (exclusive) of a batch of `whole`, which are one worker's; see `Workers.part`."""

    workers: Workers
    start: int
    stop: int
    whole: int

    def of(self, x_wn: Tensor) -> Tensor:
        """This worker's rows of something that it has of the whole batch."""
        return x_wn[self.start : self.stop]

    def rows(self, x_bn: Tensor) -> Tensor:
        """x_wn: the rows of all workers, of which gradients reach this one's alone."""
        all_wn = x_bn.new_zeros(self.whole, *x_bn.shape[1:])
        all_wn[self.start : self.stop] = x_bn.detach()
        all_wn = self.workers.sum(all_wn)
        import torch

        return torch.cat([all_wn[: self.start], x_bn, all_wn[self.stop :]])

    def shared(self, term: Tensor) -> Tensor:
        """A term that every worker has taken of the whole batch, with a gradient by its own rows.

        As large as it is, but with a gradient as of a mean over this worker's images: the workers' gradients are then
        weighed as those of other terms are.
        """
        here = self.stop - self.start
        return term.detach() + (term - term.detach()) * (self.whole / here) if here else term
