"""Image models: ResNet-50 v1.5 and a MobileNet-v2, as exporters write them (normalisation kept)."""

import numpy as np

from builder import Builder

OPSET = 17


def conv(b, x, name, ins, outs, kernel, stride=1, groups=1):
    """A convolution without bias, He-initialised for the values a ReLU lets through."""
    fan_in = ins // groups * kernel * kernel
    weight = b.random(f"{name}.weight", (outs, ins // groups, kernel, kernel),
                      scale=float(np.sqrt(2.0 / fan_in)))
    pad = kernel // 2
    return b.op("Conv", [x, weight], name, kernel_shape=[kernel, kernel], strides=[stride, stride],
                pads=[pad, pad, pad, pad], dilations=[1, 1], group=groups)


def batch_norm(b, x, name, channels, gain=1.0):
    """Inference batch normalisation with statistics that look trained."""
    return b.op("BatchNormalization",
                [x, b.random(f"{name}.weight", (channels,), 0.1 * gain, gain),
                 b.random(f"{name}.bias", (channels,), 0.1),
                 b.random(f"{name}.running_mean", (channels,), 0.1),
                 b.uniform(f"{name}.running_var", (channels,), 0.7, 1.4)], name, epsilon=1e-5)


def classifier(b, x, ins, classes):
    x = b.op("GlobalAveragePool", [x], "pool")
    x = b.op("Flatten", [x], "flat", axis=1)
    b.op("Gemm", [x, b.random("fc.weight", (classes, ins), float(1 / np.sqrt(ins))),
                  b.random("fc.bias", (classes,), 0.1)], "logits", transB=1)
    b.output("logits", [1, classes])


def bottleneck(b, x, name, ins, middle, stride):
    """1x1, 3x3 (which holds the stride: v1.5), 1x1 times four; a projection where shapes change.
    The last normalisation has a small gain, so that sixteen blocks do not blow the stream up."""
    outs = 4 * middle
    y = x
    sizes = ((1, ins, middle, 1, 1), (2, middle, middle, 3, stride), (3, middle, outs, 1, 1))
    for number, c_in, c_out, kernel, step in sizes:
        y = conv(b, y, f"{name}.conv{number}", c_in, c_out, kernel, step)
        y = batch_norm(b, y, f"{name}.bn{number}", c_out, gain=0.3 if number == 3 else 1.0)
        if number < 3:
            y = b.op("Relu", [y], f"{name}.relu{number}")
    if stride != 1 or ins != outs:
        x = conv(b, x, f"{name}.downsample.conv", ins, outs, 1, stride)
        x = batch_norm(b, x, f"{name}.downsample.bn", outs, gain=0.7)
    y = b.op("Add", [y, x], f"{name}.add")
    return b.op("Relu", [y], f"{name}.relu3")


def resnet50(name, small):
    width, image, classes = (2, 64, 10) if small else (64, 224, 1000)
    b = Builder(name, "resnet50", OPSET)
    x = b.input("input", [1, 3, image, image])
    x = conv(b, x, "conv1", 3, width, 7, 2)
    x = batch_norm(b, x, "bn1", width)
    x = b.op("Relu", [x], "relu1")
    x = b.op("MaxPool", [x], "maxpool", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    ins = width
    for stage, blocks in enumerate((3, 4, 6, 3)):
        middle = width << stage
        for block in range(blocks):
            stride = 2 if stage > 0 and block == 0 else 1
            x = bottleneck(b, x, f"layer{stage + 1}.{block}", ins, middle, stride)
            ins = 4 * middle
    classifier(b, x, ins, classes)
    return b.model()


def relu6(b, x, name):
    """Clip with its bounds as inputs, as exporters have written ReLU6 since opset 11."""
    return b.op("Clip", [x, b.constant("zero", 0.0), b.constant("six", 6.0)], name)


def inverted_residual(b, x, name, ins, outs, stride, expand):
    middle = ins * expand
    y = x
    if expand != 1:
        y = conv(b, y, f"{name}.expand", ins, middle, 1)
        y = relu6(b, batch_norm(b, y, f"{name}.expand_bn", middle), f"{name}.expand_relu6")
    y = conv(b, y, f"{name}.depthwise", middle, middle, 3, stride, groups=middle)
    y = relu6(b, batch_norm(b, y, f"{name}.depthwise_bn", middle), f"{name}.depthwise_relu6")
    y = conv(b, y, f"{name}.project", middle, outs, 1)
    y = batch_norm(b, y, f"{name}.project_bn", outs, gain=0.5)
    if stride == 1 and ins == outs:
        y = b.op("Add", [y, x], f"{name}.add")
    return y


# expansion, channels, repeats, stride of the first: MobileNet-v2's table
MOBILENET = ((1, 16, 1, 1), (6, 24, 2, 2), (6, 32, 3, 2), (6, 64, 4, 2), (6, 96, 3, 1),
             (6, 160, 3, 2), (6, 320, 1, 1))
MOBILENET_SMALL = ((1, 4, 1, 1), (6, 6, 2, 2), (6, 8, 2, 2), (6, 10, 1, 1))


def mobilenet(name, small):
    table = MOBILENET_SMALL if small else MOBILENET
    image, first, last, classes = (32, 8, 40, 10) if small else (224, 32, 1280, 1000)
    b = Builder(name, "mobilenet", OPSET)
    x = b.input("input", [1, 3, image, image])
    x = relu6(b, batch_norm(b, conv(b, x, "stem", 3, first, 3, 2), "stem_bn", first), "stem_relu6")
    ins = first
    for stage, (expand, outs, repeats, stride) in enumerate(table):
        for block in range(repeats):
            x = inverted_residual(b, x, f"block{stage}.{block}", ins, outs,
                                  stride if block == 0 else 1, expand)
            ins = outs
    x = relu6(b, batch_norm(b, conv(b, x, "head", ins, last, 1), "head_bn", last), "head_relu6")
    classifier(b, x, last, classes)
    return b.model()


def mlp_tiny(name, small):
    layers, width = (10, 32)  # small enough already
    b = Builder(name, "mlp_tiny", OPSET)
    x = b.input("input", [1, width])
    for layer in range(layers):
        last = layer == layers - 1
        x = b.op("Gemm", [x, b.random(f"fc{layer}.weight", (width, width),
                                      float(np.sqrt(2.0 / width))),
                          b.random(f"fc{layer}.bias", (width,), 0.1)],
                 f"fc{layer}", transB=1)
        x = b.op("Relu", [x], "output" if last else f"relu{layer}")
    b.output("output", [1, width])
    return b.model()
