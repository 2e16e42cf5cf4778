#!/usr/bin/env python3
"""Trains the demo's network on scikit-learn's handwritten digits and exports it as ONNX.

1,797 images of 8x8 pixels; 500, drawn by a fixed seed and never trained on, are the test set.
The network, forward and backward, is written out in numpy: conv 3x3 (16), ReLU, conv 3x3 (32),
ReLU, max pool 2x2, Gemm (64), ReLU, Gemm (10). It is trained by Adam on images shifted at random by
up to a pixel. The seed fixes every draw; another BLAS may still round differently, so the outputs
in this folder (digits.onnx, images.npy, labels.npy) are the ones the demo's accuracy is stated for:
98.6 % of the test set, 493 of 500.

The images are "Optical Recognition of Handwritten Digits" by E. Alpaydin and C. Kaynak (UCI Machine
Learning Repository, CC BY 4.0), as scikit-learn carries them.

Needs numpy, onnx and scikit-learn.
"""

import argparse
import os

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits

SEED = 1
TEST_IMAGES = 500
CLASSES = 10
OPSET = 18


def load(rng):
    """(training images, labels), (test images, labels); images are [n, 1, 8, 8] in 0..1."""
    digits = load_digits()
    images = (digits.images / 16.0).astype(np.float32)[:, None]
    labels = digits.target.astype(np.int64)
    order = rng.permutation(len(images))
    test, train = order[:TEST_IMAGES], order[TEST_IMAGES:]
    return (images[train], labels[train]), (images[test], labels[test])


def patches(x):
    """3x3 neighbourhoods with a zero border: [n, c, h, w] -> [n * h * w, c * 9]."""
    n, c, h, w = x.shape
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
    return windows.transpose(0, 2, 3, 1, 4, 5).reshape(n * h * w, c * 9)


def unpatches(columns, shape):
    """The adjoint of patches: every neighbourhood's gradient added where it was read."""
    n, c, h, w = shape
    windows = columns.reshape(n, h, w, c, 3, 3)
    padded = np.zeros((n, c, h + 2, w + 2), np.float32)
    for dy in range(3):
        for dx in range(3):
            padded[:, :, dy:dy + h, dx:dx + w] += windows[..., dy, dx].transpose(0, 3, 1, 2)
    return padded[:, :, 1:-1, 1:-1]


class Conv:
    """3x3, stride 1, zero border; weight [out, in, 3, 3]."""

    def __init__(self, rng, ins, outs):
        self.weight = rng.normal(0, np.sqrt(2 / (9 * ins)), (outs, ins, 3, 3)).astype(np.float32)
        self.bias = np.zeros(outs, np.float32)

    def forward(self, x):
        self.shape = x.shape
        self.columns = patches(x)
        y = self.columns @ self.weight.reshape(len(self.bias), -1).T + self.bias
        return y.reshape(x.shape[0], x.shape[2], x.shape[3], -1).transpose(0, 3, 1, 2)

    def backward(self, grad):
        rows = grad.transpose(0, 2, 3, 1).reshape(-1, len(self.bias))
        self.grads = [(rows.T @ self.columns).reshape(self.weight.shape), rows.sum(0)]
        return unpatches(rows @ self.weight.reshape(len(self.bias), -1), self.shape)


class Linear:
    """weight [out, in]."""

    def __init__(self, rng, ins, outs):
        self.weight = rng.normal(0, np.sqrt(2 / ins), (outs, ins)).astype(np.float32)
        self.bias = np.zeros(outs, np.float32)

    def forward(self, x):
        self.x = x
        return x @ self.weight.T + self.bias

    def backward(self, grad):
        self.grads = [grad.T @ self.x, grad.sum(0)]
        return grad @ self.weight


class Relu:
    def forward(self, x):
        self.mask = x > 0
        return x * self.mask

    def backward(self, grad):
        return grad * self.mask


class MaxPool:
    """2x2, stride 2; the gradient goes to the first of the largest."""

    def forward(self, x):
        n, c, h, w = x.shape
        self.shape = x.shape
        cells = x.reshape(n, c, h // 2, 2, w // 2, 2).transpose(0, 1, 2, 4, 3, 5)
        cells = cells.reshape(n, c, h // 2, w // 2, 4)
        self.where = cells.argmax(-1)
        return cells.max(-1)

    def backward(self, grad):
        n, c, h, w = self.shape
        cells = (np.arange(4) == self.where[..., None]) * grad[..., None]
        cells = cells.reshape(n, c, h // 2, w // 2, 2, 2).transpose(0, 1, 2, 4, 3, 5)
        return cells.reshape(self.shape).astype(np.float32)


class Flatten:
    def forward(self, x):
        self.shape = x.shape
        return x.reshape(len(x), -1)

    def backward(self, grad):
        return grad.reshape(self.shape)


def network(rng):
    return [Conv(rng, 1, 16), Relu(), Conv(rng, 16, 32), Relu(), MaxPool(), Flatten(),
            Linear(rng, 32 * 4 * 4, 64), Relu(), Linear(rng, 64, CLASSES)]


def forward(layers, x):
    for layer in layers:
        x = layer.forward(x)
    return x


def loss_gradient(logits, labels):
    """The gradient of the mean cross entropy by the logits."""
    p = np.exp(logits - logits.max(1, keepdims=True))
    p /= p.sum(1, keepdims=True)
    p[np.arange(len(labels)), labels] -= 1
    return p / np.float32(len(labels))


class Adam:
    def __init__(self, layers):
        self.trained = [layer for layer in layers if hasattr(layer, "weight")]
        self.moments = [[[np.zeros_like(p), np.zeros_like(p)] for p in (t.weight, t.bias)]
                        for t in self.trained]
        self.step_number = 0

    def step(self, rate):
        self.step_number += 1
        scale1, scale2 = 1 - 0.9**self.step_number, 1 - 0.999**self.step_number
        for layer, moments in zip(self.trained, self.moments):
            for value, grad, (first, second) in zip((layer.weight, layer.bias), layer.grads,
                                                    moments):
                first += 0.1 * (grad - first)
                second += 0.001 * (grad * grad - second)
                value -= np.float32(rate) * (first / scale1) / (np.sqrt(second / scale2) + 1e-8)


def shifted(rng, images):
    """Each image moved by -1, 0 or 1 pixel each way, zeros coming in."""
    padded = np.pad(images, ((0, 0), (0, 0), (1, 1), (1, 1)))
    offsets = rng.integers(0, 3, (len(images), 2))
    return np.stack([image[:, y:y + 8, x:x + 8] for image, (y, x) in zip(padded, offsets)])


def train(rng, images, labels, epochs, batch=32):
    layers = network(rng)
    adam = Adam(layers)
    for epoch in range(epochs):
        rate = 0.002 * 0.5 * (1 + np.cos(np.pi * epoch / epochs))
        order = rng.permutation(len(images))
        for start in range(0, len(order), batch):
            chosen = order[start:start + batch]
            grad = loss_gradient(forward(layers, shifted(rng, images[chosen])), labels[chosen])
            for layer in reversed(layers):
                grad = layer.backward(grad)
            adam.step(rate)
    return layers


def accuracy(layers, images, labels):
    return float((forward(layers, images).argmax(1) == labels).mean())


def export(layers):
    """The trained network as an ONNX model with a symbolic batch 'N'."""
    conv1, _, conv2, _, _, _, fc1, _, fc2 = layers
    same = dict(kernel_shape=[3, 3], pads=[1, 1, 1, 1])
    nodes = [
        helper.make_node("Conv", ["image", "conv1.weight", "conv1.bias"], ["c1"], "conv1", **same),
        helper.make_node("Relu", ["c1"], ["r1"], "relu1"),
        helper.make_node("Conv", ["r1", "conv2.weight", "conv2.bias"], ["c2"], "conv2", **same),
        helper.make_node("Relu", ["c2"], ["r2"], "relu2"),
        helper.make_node("MaxPool", ["r2"], ["p"], "pool", kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Flatten", ["p"], ["f"], "flatten", axis=1),
        helper.make_node("Gemm", ["f", "fc1.weight", "fc1.bias"], ["g1"], "fc1", transB=1),
        helper.make_node("Relu", ["g1"], ["r3"], "relu3"),
        helper.make_node("Gemm", ["r3", "fc2.weight", "fc2.bias"], ["logits"], "fc2", transB=1),
    ]
    weights = []
    for name, layer in (("conv1", conv1), ("conv2", conv2), ("fc1", fc1), ("fc2", fc2)):
        weights.append(numpy_helper.from_array(layer.weight, f"{name}.weight"))
        weights.append(numpy_helper.from_array(layer.bias, f"{name}.bias"))
    graph = helper.make_graph(
        nodes, "digits",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 8, 8])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", CLASSES])], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                              producer_name="quern-digits", ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    here = os.path.dirname(os.path.abspath(__file__))
    parser.add_argument("--output", default=here, metavar="DIR",
                        help="where digits.onnx, images.npy and labels.npy go (this folder)")
    parser.add_argument("--epochs", type=int, default=30)
    options = parser.parse_args()
    rng = np.random.default_rng(SEED)
    (images, labels), (test_images, test_labels) = load(rng)
    layers = train(rng, images, labels, options.epochs)
    print(f"training accuracy {100 * accuracy(layers, images, labels):.2f} % of {len(labels)}")
    print(f"test accuracy     {100 * accuracy(layers, test_images, test_labels):.2f} % "
          f"of {len(test_labels)}")
    os.makedirs(options.output, exist_ok=True)
    onnx.save(export(layers), os.path.join(options.output, "digits.onnx"))
    np.save(os.path.join(options.output, "images.npy"), test_images)
    np.save(os.path.join(options.output, "labels.npy"), test_labels)


if __name__ == "__main__":
    main()
