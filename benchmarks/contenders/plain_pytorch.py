"""The same network and run, plainly in PyTorch; variants: channels_last, fused (Adam)."""

import sys
from pathlib import Path

import torch
from _blocks import Blocks
from torch import nn
from torch.nn import functional as F

blocks = Blocks()

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))
from mnist_cnn import load_mnist  # noqa: E402

memory_format = torch.channels_last if "channels_last" in blocks.variant else torch.contiguous_format


class Network(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(1, 32, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(32, 64, 3, padding=1, bias=False)
        self.dense = nn.Linear(7 * 7 * 64, 256, bias=False)
        self.output = nn.Linear(256, 10, bias=False)

    def forward(self, x):
        x = F.max_pool2d(F.relu(self.conv1(x)), 2)
        x = F.max_pool2d(F.relu(self.conv2(x)), 2)
        x = F.relu(self.dense(x.flatten(1)))
        return self.output(F.dropout(x, 0.2, self.training))


def tensors(split):
    images = torch.from_numpy(split.images.transpose(0, 3, 1, 2).copy()).float().div_(255)
    return images.contiguous(memory_format=memory_format), torch.from_numpy(split.labels.astype("int64"))


mnist = load_mnist(blocks.data_dir)
images, labels = tensors(mnist.train)
network = Network().to(memory_format=memory_format)
optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused="fused" in blocks.variant)

network.train()
for step in range(blocks.steps):
    start = step * 100 % len(images)
    if start == 0:
        order = torch.randperm(len(images))
    chosen = order[start : start + 100]
    optimizer.zero_grad(set_to_none=True)
    cost = F.cross_entropy(network(images[chosen]), labels[chosen])
    cost.backward()
    optimizer.step()
    cost.item()
    blocks.after_step()

network.eval()
with torch.no_grad():
    test_images, test_labels = tensors(mnist.test)
    right = sum(
        (network(some).argmax(1) == theirs).sum().item()
        for some, theirs in zip(test_images.split(1000), test_labels.split(1000))
    )
print("Accuracy:", right / len(test_labels))
blocks.done(f"PyTorch {torch.__version__}")
