#!/usr/bin/env python3
"""Models of many small tables, as exporters of trees and encoders write them: tables of like sizes
are read by the same kernels.

usage: test_tables.py QUERN. Python's standard library only.
"""

import tiny_onnx as t
import tool_case
from tool_case import Case, quern

ML = "ai.onnx.ml"


def encoder(count, x, y):
    return t.node("LabelEncoder", [x], [y], domain=ML, keys_int64s=list(range(count)),
                  values_int64s=[7 * i for i in range(count)], default_int64=-5)


def chain(levels, more, x, y):
    """A tree of that many tests one below the other; `more` of the leaves test once more."""
    false, true = [], []
    leaves = levels + 1 + more
    tests = levels + more
    for i in range(levels):
        true.append(i + 1 if i + 1 < levels else tests)
        false.append(levels + i if i < more else tests + 1 + i)
    for i in range(more):
        true.append(tests + leaves - 1)
        false.append(tests + leaves - 1)
    modes = ["BRANCH_LEQ"] * tests + ["LEAF"] * leaves
    nodes = tests + leaves
    voters = list(range(tests, nodes))
    return t.node("TreeEnsembleRegressor", [x], [y], domain=ML, n_targets=1,
                  nodes_treeids=[0] * nodes, nodes_nodeids=list(range(nodes)),
                  nodes_featureids=[0] * nodes, nodes_modes=modes,
                  nodes_values=[-float(i) for i in range(nodes)],
                  nodes_truenodeids=true + [0] * leaves, nodes_falsenodeids=false + [0] * leaves,
                  target_treeids=[0] * leaves, target_nodeids=voters, target_ids=[0] * leaves,
                  target_weights=[float(i + 1) for i in range(leaves)])


class Tables(Case):
    def distinct(self, nodes, inputs, outputs):
        data = t.model(t.graph(nodes, inputs, outputs), (("", 18), (ML, 3)))
        status, out, err = quern("inspect", self.path("m.onnx", data))
        self.assertEqual((status, err), (0, ""))
        return int(out.split(" distinct")[0].split()[-1])

    def test_encoders(self):
        x, counts = t.value("x", ["N"], t.I64), (17, 18, 19)
        one = self.distinct([encoder(17, "x", "y")], [x], [t.value("y", ["N"], t.I64)])
        nodes = [encoder(n, "x", f"y{n}") for n in counts]
        outputs = [t.value(f"y{n}", ["N"], t.I64) for n in counts]
        self.assertEqual(self.distinct(nodes, [x], outputs), one)
        self.assertGreater(self.distinct([nodes[0], encoder(40, "x", "y40")], [x],
                                         [outputs[0], t.value("y40", ["N"], t.I64)]), one)

    def test_trees(self):
        x = t.value("x", ["N", 2])
        one = self.distinct([chain(4, 0, "x", "y")], [x], [t.value("y", ["N", 1])])
        two = [chain(4, 0, "x", "y"), chain(4, 1, "x", "z")]
        self.assertEqual(self.distinct(two, [x], [t.value("y", ["N", 1]), t.value("z", ["N", 1])]),
                         one)


if __name__ == "__main__":
    tool_case.main()
