"""A task: a network removes noise from images."""

import torch
from my_data import Discs
from torch import nn

metrics = {"val/psnr_db": "max", "test/psnr_db": "max"}  # the columns that it reports, and which values are better


def images(split, count):
    """Images (count, 3, 32, 32) with noise, which is the same in every trial, and without."""
    clean = torch.stack([Discs(split, 32, count)[index] for index in range(count)])
    return clean + 0.1 * torch.randn(clean.shape, generator=torch.Generator().manual_seed(count)), clean


def train(context, lr: float = 1e-3, width: int = 16, count: int = 200):
    """The parameters beside `context` are options of the sweep file. Yields one record for each epoch."""
    layers = [nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, 3, 3, padding=1)]
    network = nn.Sequential(*layers).to(context.device)
    optimiser = torch.optim.Adam(network.parameters(), lr)
    context.keep(network=network, optimiser=optimiser)  # stored with every checkpoint, and restored from it
    data = {split: [one.to(context.device) for one in images(split, count)] for split in ("train", "val", "test")}
    for _ in context.epochs:  # after a checkpoint, those that are left
        for part in torch.randperm(count).split(10):
            noisy, clean = (one[part] for one in data["train"])
            loss = (noisy + network(noisy) - clean).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            errors = {split: x + network(x) - y for split, (x, y) in data.items()}
        psnr = {split: -10 * error.square().mean((1, 2, 3)).log10().mean() for split, error in errors.items()}
        yield {"train/loss": loss, "val/psnr_db": psnr["val"], "test/psnr_db": psnr["test"]}
