"""Contender: the same network and run in plain PyTorch. Variants: channels_last, fused (Adam)."""

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent.parent)]  # protocol.py, and the package of this clone
from protocol import BlockTimer  # noqa: E402

timer = BlockTimer()

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.nn import functional as F  # noqa: E402

from mnist_cnn import load_mnist  # noqa: E402

memory_format = torch.channels_last if "channels_last" in timer.variant else torch.contiguous_format


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


def make_tensors(split):
    """Returns the images, float32 [N, 1, 28, 28] in [0, 1], and the labels, int64 [N], of a Split."""
    images = torch.from_numpy(split.images.transpose(0, 3, 1, 2).copy()).float().div_(255)
    return images.contiguous(memory_format=memory_format), torch.from_numpy(split.labels.astype("int64"))


mnist = load_mnist(timer.data_dir)
images, labels = make_tensors(mnist.train)
network = Network().to(memory_format=memory_format)
optimizer = torch.optim.Adam(network.parameters(), lr=0.001, fused="fused" in timer.variant)

network.train()
for step in range(timer.steps):
    start = step * 100 % len(images)
    if start == 0:
        order = torch.randperm(len(images))
    chosen = order[start : start + 100]
    optimizer.zero_grad(set_to_none=True)
    cost = F.cross_entropy(network(images[chosen]), labels[chosen])
    cost.backward()
    optimizer.step()
    cost.item()
    timer.after_step()

network.eval()
with torch.no_grad():
    test_images, test_labels = make_tensors(mnist.test)
    num_correct = sum(
        (network(batch).argmax(1) == batch_labels).sum().item()
        for batch, batch_labels in zip(test_images.split(1000), test_labels.split(1000))
    )
print("Accuracy:", num_correct / len(test_labels))
timer.finish(f"PyTorch {torch.__version__}")
