#!/usr/bin/env python3
"""quern check: a folder that is not a whole test fails. What cannot be used is not passed over.

usage: test_cli_check.py QUERN. Python's standard library only.
"""

import os
import re
import struct

import tiny_onnx as t
import tool_case
from tool_case import Case, quern

MODEL = t.model(t.graph([t.node("Relu", ["x"], ["y"])], [t.value("x", [3])], [t.value("y", [3])]))
GIVEN = t.tensor("x", [3], struct.pack("<3f", -1, 2, 3))
EXPECTED = t.tensor("y", [3], struct.pack("<3f", 0, 2, 3))


class Folders(Case):
    def data_set(self, name, number):
        self.path(f"{name}/test_data_set_{number}/input_0.pb", GIVEN)
        return self.path(f"{name}/test_data_set_{number}/output_0.pb", EXPECTED)

    def test_incomplete(self):
        for name in ("good", "gap", "input", "output"):
            self.path(f"{name}/model.onnx", MODEL)
        for name in ("good", "gap", "input", "output", "no_model"):
            self.data_set(name, 0)
        self.data_set("good", 1)
        self.data_set("gap", 2)
        for name in ("input", "output"):
            self.path(f"{name}/test_data_set_0/{name}_1.pb", GIVEN)
        folders = [self.path(name) for name in ("good", "gap", "input", "output", "no_model")]
        for arguments in ([self.folder.name], folders):
            status, out, err = quern("check", *arguments, "--jobs", "2")
            self.assertEqual((status, err), (1, ""))
            self.assertEqual(out.strip().splitlines()[-1], "passed 1, failed 4, skipped 0")
            why = dict(re.findall(r"(?m)^FAILED (\w+): (.*)$", out))
            self.assertRegex(why["gap"], "2 folders test_data_set_.*no test_data_set_1$")
            self.assertRegex(why["input"], "input_1.pb: the model has 1 inputs")
            self.assertRegex(why["output"], "number of outputs")
            self.assertRegex(why["no_model"], re.escape(os.path.join("no_model", "model.onnx")))


if __name__ == "__main__":
    tool_case.main()
