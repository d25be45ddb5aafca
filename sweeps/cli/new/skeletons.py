"""The texts of the files that `sweeps new` writes. Each one runs as it is."""

from __future__ import annotations

METHOD = '''\
"""A network that fills holes. In a sweep file: model: {name: ./FILE, width: 32}"""

import torch
from torch import nn


class Network(nn.Module):
    # The parameters are options under `model:` in the sweep file. Give each a default, or a type.
    def __init__(self, width: int = 32, depth: int = 2):
        super().__init__()
        layers = [nn.Conv2d(4, width, 3, padding=1), nn.ReLU()]
        for _ in range(depth):
            layers += [nn.Conv2d(width, width, 3, padding=1), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Conv2d(width, 3, 3, padding=1))

    # image: (batch, 3, height, width) in [0, 1], with 0 in the holes. mask: (batch, 1, height, width), 1 in the holes.
    # Return whole images in [0, 1]. Only the pixels in the holes count as filled.
    def forward(self, image, mask):
        return torch.sigmoid(self.layers(torch.cat([image, mask], 1)))
'''

LOSS = '''\
"""A loss term. In a sweep file: loss: {l2: 1.0, ./FILE: 0.1}"""


# The names of the parameters choose what the term gets: prediction, target, mask, known_weight, features.
# prediction and target: (batch, 3, height, width) in [0, 1]. mask: (batch, 1, height, width), 1 in the holes.
# Return a scalar that is a mean over the images, or (sum, count) if the masks decide how many elements are averaged.
def term(prediction, target, mask):
    error = ((prediction - target) ** 2 + 1e-6).sqrt()
    return (error * mask).sum(), 3 * mask.sum()
'''

MASK = '''\
"""A mask family. In a sweep file: mask: {name: ./FILE, height: 0.25}"""

import torch


# Return n masks of size x size px, with 1 (or true) in the holes. Draw random numbers with the generator only, so that
# every arm gets the same masks. Further parameters are options under `mask:`; give each a default, or a type.
def stripe(n, size, generator, *, height: float = 0.25):
    top = (1 - height) * torch.rand(n, 1, 1, generator=generator)
    row = ((torch.arange(size) + 0.5) / size)[:, None]
    return ((row >= top) & (row < top + height)).expand(n, size, size)
'''

METRIC = '''\
"""A metric. In a sweep file: report: {extra: [./FILE], metrics: [test/NAME]}"""

better = "min"      # or "max": which values are better


# The names of the parameters choose what the metric gets: prediction, target, mask, output (before the known pixels are
# put back). Images: (batch, 3, height, width) in [0, 1]. mask: (batch, 1, height, width), 1 in the holes. Further
# parameters are options, {name: ./FILE, power: 2.0}; give each a default.
# Return one finite number for each image: a tensor (batch,).
def metric(prediction, target, mask, power: float = 1.0):
    error = ((prediction - target) * mask).abs() ** power
    return error.sum((1, 2, 3)) / (3 * mask.sum((1, 2, 3))).clamp(min=1)
'''

DATASET = '''\
"""A data set. In a sweep file: data: {name: ./FILE, count: 1000}"""

import torch
from torch.utils.data import Dataset


class Images(Dataset):
    # split: train, val or test; without this parameter, the items are split 80/10/10. root: add it to get the data
    # root, a path. Further parameters are options under `data:`; give each a default, or a type.
    def __init__(self, split, count: int = 1000):
        self.first = {"train": 0, "val": 1_000_000, "test": 2_000_000}[split]
        self.count = count

    def __len__(self):
        return self.count

    # Return an image, or a tuple that begins with one: a PIL image, or a tensor (3, height, width) as uint8 or in
    # [0, 1]. Every call must return the same image. Other sizes than `data.size` are resized and cropped.
    def __getitem__(self, index):
        generator = torch.Generator().manual_seed(self.first + index)
        corners = torch.rand(1, 3, 2, 2, generator=generator)
        return torch.nn.functional.interpolate(corners, (64, 64), mode="bilinear", align_corners=True)[0]
'''

SWEEP = """\
# Which question does this study answer?
#
# Run: sweeps run FILE --store results        (with --tiny: seconds, to see whether everything works)
name: NAME
task: inpaint
base:                                         # one complete configuration
  data: {name: cifar10, train: 2000, val: 200, test: 1000}      # or: ./my_data.py (sweeps new dataset my_data.py)
  mask: {name: lines}                         # or one of your own: ./my_mask.py (sweeps new mask my_mask.py)
  model: {name: partial_conv_unet}            # or one of your own: ./net.py (sweeps new method net.py)
  loss: {l2: 1.0}                             # further terms of your own: ./my_loss.py: 0.1
  optimiser: {name: adam, lr: 1.0e-3}
  batch: 32
  epochs: 3
seeds: 3                                      # the same seed: same images, masks and order in every arm
arms:                                         # each is the base with only this changed
  - {name: slower, set: {optimiser.lr: 3.0e-4}}
  - {name: onion peel, set: {model: {name: onion_peel}}}      # fills without training
  - {name: mean fill, set: {model: {name: mean_fill}}}
claims:                                       # statements that the report judges
  - {text: "training beats the simplest fill", metric: test/psnr_db, better: base, than: mean fill}
report: {metrics: [test/psnr_db]}
small: {set: {data.train: 1000, epochs: 2}, seeds: 2}         # for --size small: within an hour on two cores
tiny: {set: {data.train: 64, data.val: 16, data.test: 16, epochs: 1}, seeds: 1}      # for --tiny
"""

TASK = '''\
"""A task: how a trial learns. In a sweep file: task: ./FILE"""

import torch

# The columns of `val` and `test` that it reports, and which values are better. Columns of `train` need no declaration.
metrics = {"val/error": "min", "test/error": "min"}
extend = True      # no result depends on the number of epochs: a sweep with more of them continues from the checkpoint


def points(count, degree):
    x = 2 * torch.rand(count, 1, generator=torch.Generator().manual_seed(count)) - 1      # the same in every trial
    return x ** torch.arange(degree + 1), torch.sin(3 * x)


# The parameters beside `context` are options: keys of `base` in the sweep file. Give each a default, or a type.
# context has: seed, device, cpus, data (a path: the data root), epochs, last_epoch, keep, generator, picture, log.
def train(context, lr: float = 0.1, degree: int = 3):
    data = {split: points(count, degree) for split, count in (("train", 200), ("val", 50), ("test", 60))}
    network = torch.nn.Linear(degree + 1, 1).to(context.device)
    optimiser = torch.optim.SGD(network.parameters(), lr)
    # What is kept is stored with every checkpoint, and restored when the trial continues from one.
    context.keep(network=network, optimiser=optimiser)
    for epoch in context.epochs:      # after a checkpoint: the epochs that are left
        for part in torch.randperm(200).split(20):
            x, y = (one[part].to(context.device) for one in data["train"])
            loss = (network(x) - y).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
        with torch.no_grad():
            error = {split: (network(x.to(context.device)).cpu() - y).square().mean() for split, (x, y) in data.items()}
        yield {"train/loss": loss, "val/error": error["val"], "test/error": error["test"]}      # one record an epoch
'''

TASK_SWEEP = """\
# Which question does this study answer?
#
# Run: sweeps run FILE --store results
name: NAME
task: ./CODE
base: {lr: 0.1, degree: 3, epochs: 10}        # options of the task, and the number of epochs
seeds: 3                                      # the same seed: the same random numbers in every arm
arms:                                         # each is the base with only this changed
  - {name: line, set: {degree: 1}}
  - {name: larger steps, set: {lr: 0.3}}
claims:                                       # statements that the report judges
  - {text: "a curve fits better than a line", metric: test/error, better: base, than: line}
tiny: {set: {epochs: 2}, seeds: 1}            # for --tiny
"""

COMMAND = '''\
"""A training program: it fits a polynomial to a sine. It runs alone (python FILE --out out), or as trials of a sweep
(sweeps run SWEEP). It needs no package: keep `report`, `save` and `restore`, and replace the rest.
"""

import argparse
import json
import math
import os
import random

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, default=0.1)
parser.add_argument("--degree", type=int, default=3)
parser.add_argument("--epochs", type=int, default=10)
parser.add_argument("--seed", type=int, default=0)
parser.add_argument("--out", default="out")      # everything that the program writes goes here
args = parser.parse_args()


# One line for each epoch: every `val` column of `metrics` in the sweep file, the `test` columns at least in the last
# epoch, and any train/NAME. Other lines are kept in the log of the trial.
def report(epoch, columns):
    print("@sweeps " + json.dumps({"epoch": epoch, **columns}), flush=True)


# What lies in the folder `checkpoint` is there again when a trial resumes, with the same arguments.
CHECKPOINT = os.path.join(args.out, "checkpoint", "state.json")
os.makedirs(os.path.dirname(CHECKPOINT), exist_ok=True)


def save(state):
    with open(CHECKPOINT + ".new", "w") as file:
        json.dump(state, file)
    os.replace(CHECKPOINT + ".new", CHECKPOINT)      # renamed, so that a checkpoint is never half written


def restore():
    if not os.path.exists(CHECKPOINT):
        return None
    with open(CHECKPOINT) as file:
        return json.load(file)


def points(count):
    x = [random.Random(count + i).uniform(-1, 1) for i in range(count)]      # the same in every trial
    return [([one**power for power in range(args.degree + 1)], math.sin(3 * one)) for one in x]


def residual(weights, x, y):
    return sum(weight * value for weight, value in zip(weights, x)) - y


def error(weights, data):
    return sum(residual(weights, x, y) ** 2 for x, y in data) / len(data)


data = {"train": points(200), "val": points(50), "test": points(60)}
start = random.Random(args.seed)
state = restore() or {"epoch": 0, "weights": [start.gauss(0, 1) for _ in range(args.degree + 1)]}
for epoch in range(state["epoch"] + 1, args.epochs + 1):      # after a checkpoint: the epochs that are left
    weights = state["weights"]
    # Random numbers of the seed and the epoch alone: a trial that was killed and resumed gives the same results.
    for x, y in random.Random(f"{args.seed} {epoch}").sample(data["train"], 200):
        step = args.lr * residual(weights, x, y)
        weights = [weight - step * value for weight, value in zip(weights, x)]
    state = {"epoch": epoch, "weights": weights}
    save(state)      # before the record of this epoch
    names = {"train/error": "train", "val/error": "val", "test/error": "test"}
    report(epoch, {column: error(weights, data[split]) for column, split in names.items()})
'''

COMMAND_SWEEP = """\
# Which question does this study answer?
#
# Run: sweeps run FILE --store results
name: NAME
task: command
base:
  run: ["{python}", CODE, --lr, "{lr}", --degree, "{degree}", --epochs, "{epochs}", --seed, "{seed}", --out, "{out}"]
  code: [CODE]                                # its files: part of every trial's id, and copied to where it runs
  metrics: {val/error: min, test/error: min}  # the columns that it reports, and which values are better
  extend: true                                # no result depends on the number of epochs: more of them continue
  epochs: 10
  lr: 0.1                                     # every other key is a parameter of the program
  degree: 3
seeds: 3                                      # the same seed in every arm
arms:                                         # each is the base with only this changed
  - {name: line, set: {degree: 1}}
  - {name: smaller steps, set: {lr: 0.03}}
claims:                                       # statements that the report judges
  - {text: "a curve fits better than a line", metric: test/error, better: base, than: line}
tiny: {set: {epochs: 2}, seeds: 1}            # for --tiny
"""

TEXTS = {
    "method": METHOD,
    "loss": LOSS,
    "mask": MASK,
    "metric": METRIC,
    "dataset": DATASET,
    "task": TASK,
    "command": COMMAND,
    "sweep": SWEEP,
}
"""By kind. FILE stands for the name of the file, NAME for that of the sweep or of the file without its ending."""
SWEEPS = {"task": TASK_SWEEP, "command": COMMAND_SWEEP}
"""By kind: the sweep that is written beside the code. CODE stands for the name of its file."""
