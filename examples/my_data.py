"""A data set: drawn discs on gradients, so that nothing has to be downloaded."""

import torch
from torch.utils.data import Dataset


class Discs(Dataset):
    """`split` is train, val or test. The other parameters are options of the sweep file."""

    def __init__(self, split, size, count: int = 1000):
        self.size, self.count = size, count
        self.first = {"train": 0, "val": 1_000_000, "test": 2_000_000}[split]

    def __len__(self):
        return self.count if self.first == 0 else self.count // 5

    def __getitem__(self, index):
        """An image: (3, size, size) in [0, 1]. The same at every call, because all trials share it."""
        generator = torch.Generator().manual_seed(self.first + index)
        colours, place = torch.rand(3, 3, 1, 1, generator=generator), torch.rand(3, generator=generator)
        at = torch.linspace(0, 1, self.size)
        inside = (at[:, None] - place[0]) ** 2 + (at - place[1]) ** 2 < (0.1 + 0.3 * place[2]) ** 2
        background = colours[0] + (colours[1] - colours[0]) * at
        return torch.where(inside, colours[2], background)
