"""What is not a network: an ensemble of regression trees (as gradient boosting makes them), and the
choice of the best of a vocabulary."""

import zlib

import numpy as np
from onnx import TensorProto

from builder import Builder

OPSET = 17


def trees(name, small):
    """Complete binary trees over thresholds and features at random, one row of a table each."""
    count, depth, features, rows = (10, 3, 8, 5) if small else (500, 8, 50, 256)
    rng = np.random.default_rng(zlib.crc32(b"trees"))
    inner, nodes = (1 << depth) - 1, (2 << depth) - 1
    ids = np.arange(nodes)
    is_inner = ids < inner
    every = {
        "nodes_nodeids": ids,
        "nodes_truenodeids": np.where(is_inner, 2 * ids + 1, 0),
        "nodes_falsenodeids": np.where(is_inner, 2 * ids + 2, 0),
        "nodes_hitrates": np.ones(nodes),
    }
    attributes = {key: np.tile(values, count).tolist() for key, values in every.items()}
    b = Builder(name, "trees", OPSET, {"ai.onnx.ml": 3})
    x = b.input("input", [rows, features])
    b.op("TreeEnsembleRegressor", [x], "score", domain="ai.onnx.ml",
         nodes_treeids=np.repeat(np.arange(count), nodes).tolist(),
         nodes_modes=(["BRANCH_LEQ"] * inner + ["LEAF"] * (nodes - inner)) * count,
         nodes_featureids=rng.integers(features, size=count * nodes).tolist(),
         nodes_values=rng.standard_normal(count * nodes).astype(np.float32).tolist(),
         target_treeids=np.repeat(np.arange(count), nodes - inner).tolist(),
         target_nodeids=np.tile(ids[inner:], count).tolist(),
         target_ids=[0] * (count * (nodes - inner)),
         target_weights=(rng.standard_normal(count * (nodes - inner)) / count ** 0.5)
         .astype(np.float32).tolist(),
         n_targets=1, **attributes)
    b.output("score", [rows, 1])
    return b.model()


def topk(name, small):
    """A sampler's first step: probabilities of the likeliest tokens."""
    words, best = (100, 7) if small else (50000, 50)
    b = Builder(name, "topk", OPSET)
    x = b.input("logits", [1, words])
    k = b.constant("k", [best], np.int64)
    values, indices = b.op("TopK", [x, k], "best", outputs=2)
    b.op("Softmax", [values], "probabilities")
    b.output("probabilities", [1, best])
    b.output(indices, [1, best], TensorProto.INT64)
    return b.model()
