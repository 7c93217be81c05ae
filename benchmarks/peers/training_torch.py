"""Training with a PyTorch `DataLoader` and the transforms of torchvision on tensors, one image at a time."""

import time

import numpy as np
import torch
from torch.nn import functional
from torch.utils import data

from benchmarks.contest.entrant import Workload
from benchmarks.peers import networks_torch, step_batch, training_turns

# Processes that load: those of a machine of two cores, and none, which may be faster there.
_LOADERS = (0, 2)
_TRIED_STEPS = 3


class Augmented(data.Dataset):
    """Images, held in memory, that are padded by an eighth, cropped and mirrored at random."""

    def __init__(self, images, labels):
        self._images = torch.from_numpy(images).permute(0, 3, 1, 2)
        self._labels = torch.from_numpy(labels)
        self._size = images.shape[1]
        self._mean = torch.tensor([125.3, 123.0, 113.9])[:, None, None] / 255
        self._deviation = torch.tensor([63.0, 62.1, 66.7])[:, None, None] / 255

    def __len__(self):
        return len(self._labels)

    def __getitem__(self, index):
        margin = self._size // 8
        image = functional.pad(self._images[index], (margin,) * 4)
        top, left = torch.randint(0, 2 * margin + 1, (2,)).tolist()
        image = image[:, top : top + self._size, left : left + self._size]
        if torch.rand(1) < 0.5:
            image = image.flip(-1)
        image = image.to(torch.float32).div_(255)
        return image.sub_(self._mean).div_(self._deviation), self._labels[index]


class Trainer:
    """A network, and the batches it is trained on, endlessly."""

    def __init__(self, network, examples, batch, loaders):
        self._network, self._batch = network, batch
        self._optimizer = torch.optim.SGD(
            network.parameters(),
            step_batch.LEARNING_RATE,
            momentum=step_batch.MOMENTUM,
            weight_decay=step_batch.WEIGHT_DECAY,
        )
        self._batches = endless(
            data.DataLoader(
                examples, batch, shuffle=True, num_workers=loaders, drop_last=True, persistent_workers=loaders > 0
            )
        )

    def advance(self, count):
        """Makes so many steps and returns how fast they were."""
        started, waited = time.perf_counter(), 0.0
        for _ in range(count):
            asked = time.perf_counter()
            images, labels = next(self._batches)
            waited += time.perf_counter() - asked
            self._step(images, labels)
        seconds = time.perf_counter() - started
        return {"images per second": count * self._batch / seconds, "waiting share": waited / seconds}

    def _step(self, images, labels):
        self._optimizer.zero_grad()
        loss = functional.cross_entropy(self._network(images.to(memory_format=torch.channels_last)), labels)
        loss.backward()
        self._optimizer.step()
        loss.item()


def make(arch, batch, folder, steps, path):
    """
    Args:
        folder: String, where `training_arrays` has written the data set.
        steps: Integer, how many count in a repeat.
        path: String, the file of what is measured.
    """
    images, labels = (np.load(f"{folder}/{name}.npy") for name in ("images", "labels"))
    network = networks_torch.NETWORKS[arch]("batch_norm_before", int(labels.max()) + 1)
    network = network.to(memory_format=torch.channels_last)
    examples = Augmented(images, labels)
    trainers = {loaders: Trainer(network, examples, batch, loaders) for loaders in _LOADERS}
    speeds = {loaders: tried(trainer) for loaders, trainer in trainers.items()}
    fastest = max(speeds, key=speeds.get)
    advance = trainers[fastest].advance
    trainers.clear()  # with it the processes that load for the slower one
    return Workload(training_turns.repeat(advance, steps, path), {"loading processes": fastest})


def tried(trainer):
    """Returns the images a second of a few steps after the first ones."""
    trainer.advance(training_turns.AHEAD)
    return trainer.advance(_TRIED_STEPS)["images per second"]


def endless(loader):
    while True:
        yield from loader
