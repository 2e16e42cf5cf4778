"""Text models: BERT-base in three spellings, a GPT-2-small decoder step, an LSTM classifier."""

from dataclasses import dataclass

import numpy as np
from onnx import TensorProto

from builder import Builder

OPSET = 17
INT64 = TensorProto.INT64


@dataclass
class Sizes:
    layers: int
    hidden: int
    heads: int
    inner: int
    vocabulary: int
    positions: int
    length: int  # the sequence, or for a decoder step what has passed

    @property
    def head(self):
        return self.hidden // self.heads


BERT = Sizes(12, 768, 12, 3072, 30522, 512, 128)
BERT_SMALL = Sizes(2, 32, 4, 64, 100, 40, 16)
GPT2 = Sizes(12, 768, 12, 3072, 50257, 1024, 512)
GPT2_SMALL = Sizes(2, 32, 4, 128, 120, 32, 12)


def scalar(b, value, dtype=np.float32):
    text = str(value).replace("-", "m").replace(".", "_")
    return b.constant(f"const.{np.dtype(dtype).name}.{text}", value, dtype)


def ints(b, *values):
    return b.constant("const.shape." + "x".join(map(str, values)).replace("-", "m"), values,
                      np.int64)


def linear(b, x, name, ins, outs, gain=1.0):
    """MatMul and Add, the spelling of a Linear on three dims; weight is [in, out]."""
    y = b.op("MatMul", [x, b.random(f"{name}.weight", (ins, outs), float(gain / np.sqrt(ins)))],
             f"{name}.matmul")
    return b.op("Add", [b.random(f"{name}.bias", (outs,), 0.05), y], name)


def layer_norm(b, x, name, width, decomposed=False, epsilon=1e-12):
    scale = b.random(f"{name}.weight", (width,), 0.1, 1.0)
    shift = b.random(f"{name}.bias", (width,), 0.1)
    if not decomposed:
        return b.op("LayerNormalization", [x, scale, shift], name, axis=-1, epsilon=epsilon)
    mean = b.op("ReduceMean", [x], f"{name}.mean", axes=[-1], keepdims=1)
    centred = b.op("Sub", [x, mean], f"{name}.centred")
    square = b.op("Pow", [centred, scalar(b, 2.0)], f"{name}.square")
    variance = b.op("ReduceMean", [square], f"{name}.variance", axes=[-1], keepdims=1)
    safe = b.op("Add", [variance, scalar(b, epsilon)], f"{name}.safe")
    deviation = b.op("Sqrt", [safe], f"{name}.deviation")
    unit = b.op("Div", [centred, deviation], f"{name}.unit")
    return b.op("Add", [b.op("Mul", [unit, scale], f"{name}.scaled"), shift], name)


def gelu_erf(b, x, name):
    """x * (1 + erf(x / sqrt 2)) * 0.5 in the order PyTorch's exporter writes it."""
    erf = b.op("Erf", [b.op("Div", [x, scalar(b, float(np.float32(np.sqrt(2.0))))],
                            f"{name}.div")], f"{name}.erf")
    one = b.op("Add", [erf, scalar(b, 1.0)], f"{name}.add")
    return b.op("Mul", [b.op("Mul", [x, one], f"{name}.mul"), scalar(b, 0.5)], name)


def gelu_tanh(b, x, name):
    """GPT-2's approximation: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."""
    cube = b.op("Pow", [x, scalar(b, 3.0)], f"{name}.cube")
    inner = b.op("Add", [x, b.op("Mul", [cube, scalar(b, 0.044715)], f"{name}.part")],
                 f"{name}.inner")
    tanh = b.op("Tanh", [b.op("Mul", [inner, scalar(b, 0.7978845608)], f"{name}.arg")],
                f"{name}.tanh")
    half = b.op("Mul", [x, scalar(b, 0.5)], f"{name}.half")
    return b.op("Mul", [half, b.op("Add", [tanh, scalar(b, 1.0)], f"{name}.one")], name)


class Bert:
    """The encoder; `dynamic` computes every shape at run time as exporters write it."""

    def __init__(self, name, sizes, decomposed=False, dynamic=False):
        # One family: the three spellings hold the same weights.
        self.b = Builder(name, "bert", OPSET)
        self.sizes = sizes
        self.decomposed = decomposed
        self.dynamic = dynamic

    def norm(self, x, name):
        return layer_norm(self.b, x, name, self.sizes.hidden, self.decomposed)

    def dim(self, x, axis, name):
        """One dim of a value, as a vector of length 1: Shape, Gather, Unsqueeze."""
        b = self.b
        shape = b.op("Shape", [x], f"{name}.shape")
        value = b.op("Gather", [shape, b.constant(f"const.int64.{axis}", axis, np.int64)],
                     f"{name}.dim", axis=0)
        return b.op("Unsqueeze", [value, ints(b, 0)], name)

    def shape(self, x, tail, name):
        """[batch of x, sequence of x, *tail], as a constant where shapes are fixed."""
        b = self.b
        if not self.dynamic:
            return ints(b, 1, self.sizes.length, *tail)
        parts = [self.dim(x, 0, f"{name}.batch"), self.dim(x, 1, f"{name}.sequence")]
        return b.op("Concat", parts + [ints(b, t) for t in tail], name, axis=0)

    def embeddings(self, ids, types):
        b, s = self.b, self.sizes
        words = b.op("Gather", [b.random("embeddings.word", (s.vocabulary, s.hidden), 0.5), ids],
                     "embeddings.words", axis=0)
        kinds = b.op("Gather", [b.random("embeddings.type", (2, s.hidden), 0.5), types],
                     "embeddings.types", axis=0)
        numbers = b.constant("embeddings.position_ids", np.arange(s.positions)[None, :], np.int64)
        end = self.dim(ids, 1, "embeddings.length") if self.dynamic else ints(b, s.length)
        numbers = b.op("Slice", [numbers, ints(b, 0), end, ints(b, 1), ints(b, 1)],
                       "embeddings.numbers")
        places = b.op("Gather", [b.random("embeddings.position", (s.positions, s.hidden), 0.5),
                                 numbers], "embeddings.places", axis=0)
        x = b.op("Add", [words, kinds], "embeddings.sum")
        x = b.op("Add", [x, places], "embeddings.all")
        return self.norm(x, "embeddings.norm")

    def split_heads(self, x, name, perm):
        s = self.sizes
        x4 = self.b.op("Reshape", [x, self.shape(x, (s.heads, s.head), f"{name}.shape")],
                       f"{name}.split")
        return self.b.op("Transpose", [x4], f"{name}.heads", perm=perm)

    def attention(self, x, mask, name):
        b, s = self.b, self.sizes
        q = self.split_heads(linear(b, x, f"{name}.query", s.hidden, s.hidden), f"{name}.q",
                             [0, 2, 1, 3])
        k = self.split_heads(linear(b, x, f"{name}.key", s.hidden, s.hidden), f"{name}.k",
                             [0, 2, 3, 1])
        v = self.split_heads(linear(b, x, f"{name}.value", s.hidden, s.hidden), f"{name}.v",
                             [0, 2, 1, 3])
        scores = b.op("MatMul", [q, k], f"{name}.scores")
        scores = b.op("Div", [scores, scalar(b, float(np.float32(np.sqrt(s.head))))],
                      f"{name}.scaled")
        scores = b.op("Add", [scores, mask], f"{name}.masked")
        weights = b.op("Softmax", [scores], f"{name}.softmax", axis=-1)
        context = b.op("MatMul", [weights, v], f"{name}.context")
        context = b.op("Transpose", [context], f"{name}.rows", perm=[0, 2, 1, 3])
        context = b.op("Reshape", [context, self.shape(context, (s.hidden,), f"{name}.join")],
                       f"{name}.joined")
        return linear(b, context, f"{name}.output", s.hidden, s.hidden)

    def layer(self, x, mask, name):
        b, s = self.b, self.sizes
        y = self.attention(x, mask, f"{name}.attention")
        x = self.norm(b.op("Add", [y, x], f"{name}.attention.residual"), f"{name}.attention.norm")
        y = gelu_erf(b, linear(b, x, f"{name}.up", s.hidden, s.inner), f"{name}.gelu")
        y = linear(b, y, f"{name}.down", s.inner, s.hidden)
        return self.norm(b.op("Add", [y, x], f"{name}.residual"), f"{name}.norm")

    def model(self):
        b, s = self.b, self.sizes
        lead = ["batch", "sequence"] if self.dynamic else [1, s.length]
        ids = b.input("input_ids", lead, INT64)
        mask = b.input("attention_mask", lead, INT64)
        types = b.input("token_type_ids", lead, INT64)
        mask = b.op("Unsqueeze", [mask, ints(b, 1, 2)], "mask.wide")
        mask = b.op("Cast", [mask], "mask.float", to=TensorProto.FLOAT)
        mask = b.op("Sub", [scalar(b, 1.0), mask], "mask.inverse")
        mask = b.op("Mul", [mask, scalar(b, -10000.0)], "mask.bias")
        x = self.embeddings(ids, types)
        for number in range(s.layers):
            x = self.layer(x, mask, f"layer{number}")
        b.op("Identity", [x], "last_hidden_state")
        first = b.op("Gather", [x, scalar(b, 0, np.int64)], "pooler.first", axis=1)
        weight = b.random("pooler.weight", (s.hidden, s.hidden), float(1 / np.sqrt(s.hidden)))
        pooled = b.op("Gemm", [first, weight, b.random("pooler.bias", (s.hidden,), 0.05)],
                      "pooler.gemm", transB=1)
        b.op("Tanh", [pooled], "pooler_output")
        b.output("last_hidden_state", lead + [s.hidden])
        b.output("pooler_output", [lead[0], s.hidden])
        return b.model()


def bert_base(name, small):
    return Bert(name, BERT_SMALL if small else BERT).model()


def bert_base_decomposed(name, small):
    return Bert(name, BERT_SMALL if small else BERT, decomposed=True).model()


def bert_dynamic(name, small):
    return Bert(name, BERT_SMALL if small else BERT, dynamic=True).model()


def conv1d(b, x, name, ins, outs, gain=1.0):
    """GPT-2's Conv1D: rows flattened, a Gemm with weight [in, out], shape put back."""
    flat = b.op("Reshape", [x, ints(b, -1, ins)], f"{name}.flat")
    y = b.op("Gemm", [flat, b.random(f"{name}.weight", (ins, outs), float(gain / np.sqrt(ins))),
                      b.random(f"{name}.bias", (outs,), 0.05)], f"{name}.gemm")
    return b.op("Reshape", [y, ints(b, 1, 1, outs)], name)


def gpt2_attention(b, x, number, s):
    """One new position against the past: keys and values are appended by Concat and given back."""
    name = f"h{number}.attn"
    three = conv1d(b, x, f"{name}.qkv", s.hidden, 3 * s.hidden)
    split = ints(b, s.hidden, s.hidden, s.hidden)
    heads = []
    for part, value in zip("qkv", b.op("Split", [three, split], f"{name}.split", 3, axis=2)):
        value = b.op("Reshape", [value, ints(b, 1, 1, s.heads, s.head)], f"{name}.{part}.split")
        heads.append(b.op("Transpose", [value], f"{name}.{part}", perm=[0, 2, 1, 3]))
    q, k, v = heads
    past = [1, s.heads, s.length, s.head]
    present = [1, s.heads, s.length + 1, s.head]
    keys = b.op("Concat", [b.input(f"past_key_{number}", past), k], f"present_key_{number}",
                axis=2)
    values = b.op("Concat", [b.input(f"past_value_{number}", past), v],
                  f"present_value_{number}", axis=2)
    b.output(keys, present)
    b.output(values, present)
    turned = b.op("Transpose", [keys], f"{name}.k_turned", perm=[0, 1, 3, 2])
    scores = b.op("MatMul", [q, turned], f"{name}.scores")
    scores = b.op("Div", [scores, scalar(b, float(np.float32(np.sqrt(s.head))))],
                  f"{name}.scaled")
    weights = b.op("Softmax", [scores], f"{name}.softmax", axis=-1)
    context = b.op("MatMul", [weights, values], f"{name}.context")
    context = b.op("Transpose", [context], f"{name}.rows", perm=[0, 2, 1, 3])
    context = b.op("Reshape", [context, ints(b, 1, 1, s.hidden)], f"{name}.joined")
    return conv1d(b, context, f"{name}.proj", s.hidden, s.hidden, gain=0.3)


def gpt2_step(name, small):
    """The logits are tied: the word table is read by Gather and, transposed, by the last MatMul."""
    s = GPT2_SMALL if small else GPT2
    b = Builder(name, "gpt2", OPSET)
    ids = b.input("input_ids", [1, 1], INT64)
    places = b.input("position_ids", [1, 1], INT64)
    # Small enough for logits of order 1 after the final normalisation.
    words = b.random("wte", (s.vocabulary, s.hidden), float(1 / np.sqrt(s.hidden)))
    x = b.op("Add", [b.op("Gather", [words, ids], "words", axis=0),
                     b.op("Gather", [b.random("wpe", (s.positions, s.hidden), 0.05), places],
                          "places", axis=0)], "embedded")
    b.output("logits", [1, 1, s.vocabulary])  # before the presents: the first output
    for number in range(s.layers):
        norm = layer_norm(b, x, f"h{number}.ln_1", s.hidden, epsilon=1e-5)
        x = b.op("Add", [gpt2_attention(b, norm, number, s), x], f"h{number}.mid")
        norm = layer_norm(b, x, f"h{number}.ln_2", s.hidden, epsilon=1e-5)
        y = gelu_tanh(b, conv1d(b, norm, f"h{number}.mlp.fc", s.hidden, s.inner),
                      f"h{number}.mlp.gelu")
        y = conv1d(b, y, f"h{number}.mlp.proj", s.inner, s.hidden, gain=0.5)
        x = b.op("Add", [x, y], f"h{number}.out")
    x = layer_norm(b, x, "ln_f", s.hidden, epsilon=1e-5)
    b.op("MatMul", [x, b.op("Transpose", [words], "wte_turned", perm=[1, 0])], "logits")
    return b.model()


def lstm(name, small):
    """Token classifier: embedding, one LSTM over the sequence, its last state through a Gemm."""
    vocabulary, width, hidden, steps, classes = (50, 8, 16, 12, 5) if small else \
        (10000, 128, 256, 100, 20)
    b = Builder(name, "lstm", OPSET)
    ids = b.input("tokens", [1, steps], INT64)
    x = b.op("Gather", [b.random("embedding", (vocabulary, width)), ids], "embedded", axis=0)
    x = b.op("Transpose", [x], "time_major", perm=[1, 0, 2])
    _, last = b.op("LSTM", [x, b.random("lstm.w", (1, 4 * hidden, width),
                                        float(1 / np.sqrt(width))),
                            b.random("lstm.r", (1, 4 * hidden, hidden),
                                     float(1 / np.sqrt(hidden))),
                            b.random("lstm.b", (1, 8 * hidden), 0.1)],
                   "lstm", ["lstm.y", "lstm.h"], hidden_size=hidden)
    last = b.op("Squeeze", [last, ints(b, 0)], "last")
    b.op("Gemm", [last, b.random("fc.weight", (classes, hidden), float(1 / np.sqrt(hidden))),
                  b.random("fc.bias", (classes,), 0.1)], "logits", transB=1)
    b.output("logits", [1, classes])
    return b.model()
