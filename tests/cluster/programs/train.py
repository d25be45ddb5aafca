"""Denoise CIFAR-10 images with a small network: a training script as published with papers, with eight added lines."""

import argparse
import json
import os
import pickle
from pathlib import Path

import numpy as np
import torch
from torch import nn


def images(root, name, count):
    with open(Path(root) / "cifar-10-batches-py" / name, "rb") as file:
        data = pickle.load(file, encoding="bytes")[b"data"][:count]
    return torch.from_numpy(np.asarray(data).reshape(-1, 3, 32, 32).copy()).float() / 255


def psnr(net, clean, noisy):
    with torch.no_grad():
        error = ((net(noisy) - clean) ** 2).mean(dim=(1, 2, 3))
    return float((-10 * torch.log10(error)).mean())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", default=os.environ.get("SWEEPS_DATA"))
    parser.add_argument("--lr", type=float, default=1e-3)
    parser.add_argument("--width", type=int, default=16)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", default="out")
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    torch.set_num_threads(1)
    train, test = images(args.data, "data_batch_1", 256), images(args.data, "test_batch", 128)
    noise = torch.Generator().manual_seed(7)
    noisy = test + 0.1 * torch.randn(test.shape, generator=noise)
    net = nn.Sequential(nn.Conv2d(3, args.width, 3, padding=1), nn.ReLU(), nn.Conv2d(args.width, 3, 3, padding=1))
    optimiser = torch.optim.Adam(net.parameters(), lr=args.lr)
    saved = Path(args.out) / "checkpoint" / "last.pt"
    first = 1
    if saved.exists():
        state = torch.load(saved)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        first = state["epoch"] + 1
        print(f"resumed after epoch {state['epoch']}")
    if "SWEEPS_TEST_ARGUMENTS" in os.environ:
        import sys

        with open(os.environ["SWEEPS_TEST_ARGUMENTS"], "a") as file:
            file.write(json.dumps(sys.argv) + "\n")

    for epoch in range(first, args.epochs + 1):
        draws = torch.Generator().manual_seed(1000 * args.seed + epoch)
        total = 0.0
        for index in torch.randperm(len(train), generator=draws).split(32):
            clean = train[index]
            loss = nn.functional.mse_loss(net(clean + 0.1 * torch.randn(clean.shape, generator=draws)), clean)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            total += loss.item() * len(index)
        values = {
            "train/loss": total / len(train),
            "val/psnr_db": psnr(net, test[:64], noisy[:64]),
            "test/psnr_db": psnr(net, test[64:], noisy[64:]),
        }
        print(f"epoch {epoch}: " + ", ".join(f"{name} {value:.4f}" for name, value in values.items()))
        state = {"net": net.state_dict(), "optimiser": optimiser.state_dict(), "epoch": epoch}
        torch.save(state, f"{saved}.new")
        os.replace(f"{saved}.new", saved)
        if "SWEEPS_RECORDS" in os.environ:
            parameters = sum(p.numel() for p in net.parameters())
            with open(os.environ["SWEEPS_RECORDS"], "a") as file:
                file.write(json.dumps({"epoch": epoch, "parameters": parameters, **values}) + "\n")


if __name__ == "__main__":
    main()
