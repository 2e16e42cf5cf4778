"""A decoder in the manner of Llama: root-mean-square norms, rotary positions, heads that share keys
and values, gated units, keys and values of what has passed. Written with the operators of opset 24
(RMSNormalization, RotaryEmbedding, Attention)."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from builder import Builder

OPSET = 24
INT64 = TensorProto.INT64


@dataclass
class Sizes:
    layers: int
    hidden: int
    heads: int
    groups: int  # heads of keys and values
    inner: int
    vocabulary: int
    positions: int

    @property
    def head(self):
        return self.hidden // self.heads


LLAMA = Sizes(4, 512, 8, 2, 1408, 8000, 2048)
LLAMA_SMALL = Sizes(2, 32, 4, 2, 48, 100, 64)


class Llama:
    """Any number of new tokens after any number of past ones."""

    def __init__(self, name, sizes):
        self.b = Builder(name, "llama", OPSET)
        self.sizes = sizes

    def product(self, x, name, ins, outs, gain=1.0):
        weight = self.b.random(f"{name}.weight", (ins, outs), float(gain / np.sqrt(ins)))
        return self.b.op("MatMul", [x, weight], name)

    def norm(self, x, name):
        scale = self.b.random(f"{name}.weight", (self.sizes.hidden,), 0.1, 1.0)
        return self.b.op("RMSNormalization", [x, scale], name, axis=-1, epsilon=1e-5)

    def angles(self):
        """Cosines and sines of every position, halves of a head turning together."""
        s = self.sizes
        turns = 1 / 10000 ** (np.arange(0, s.head, 2) / s.head)
        table = np.arange(s.positions)[:, None] * turns[None, :]
        return (self.b.constant("rotary.cosine", np.cos(table)),
                self.b.constant("rotary.sine", np.sin(table)))

    def attention(self, x, positions, number):
        b, s = self.b, self.sizes
        name = f"layer{number}.attention"
        narrow = s.groups * s.head
        q = self.product(x, f"{name}.q", s.hidden, s.hidden)
        k = self.product(x, f"{name}.k", s.hidden, narrow)
        v = self.product(x, f"{name}.v", s.hidden, narrow)
        cosine, sine = self.angles()
        q = b.op("RotaryEmbedding", [q, cosine, sine, positions], f"{name}.q_turned",
                 num_heads=s.heads)
        k = b.op("RotaryEmbedding", [k, cosine, sine, positions], f"{name}.k_turned",
                 num_heads=s.groups)
        past = [b.input(f"past_{part}_{number}", ["batch", s.groups, "past", s.head])
                for part in ("key", "value")]
        present = [f"present_{part}_{number}" for part in ("key", "value")]
        y = b.op("Attention", [q, k, v, "", *past], name, [f"{name}.joined", *present],
                 q_num_heads=s.heads, kv_num_heads=s.groups, is_causal=1)[0]
        for value in present:
            b.output(value, ["batch", s.groups, "total", s.head])
        return self.product(y, f"{name}.output", s.hidden, s.hidden, 0.3)

    def gated(self, x, name):
        """silu(x gate) * (x up), then down."""
        b, s = self.b, self.sizes
        gate = self.product(x, f"{name}.gate", s.hidden, s.inner)
        up = self.product(x, f"{name}.up", s.hidden, s.inner)
        silu = b.op("Mul", [gate, b.op("Sigmoid", [gate], f"{name}.sigmoid")], f"{name}.silu")
        return self.product(b.op("Mul", [silu, up], f"{name}.gated"), f"{name}.down", s.inner,
                            s.hidden, 0.5)

    def model(self):
        b, s = self.b, self.sizes
        ids = b.input("input_ids", ["batch", "sequence"], INT64)
        positions = b.input("position_ids", ["batch", "sequence"], INT64)
        b.output("logits", ["batch", "sequence", s.vocabulary])
        x = b.op("Gather", [b.random("words", (s.vocabulary, s.hidden)), ids], "embedded", axis=0)
        for number in range(s.layers):
            y = self.attention(self.norm(x, f"layer{number}.norm1"), positions, number)
            x = b.op("Add", [x, y], f"layer{number}.mid")
            y = self.gated(self.norm(x, f"layer{number}.norm2"), f"layer{number}.unit")
            x = b.op("Add", [x, y], f"layer{number}.out")
        self.product(self.norm(x, "norm"), "logits", s.hidden, s.vocabulary)
        return b.model()


def llama(name, small):
    return Llama(name, LLAMA_SMALL if small else LLAMA).model()
