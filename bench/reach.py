#!/usr/bin/env python3
"""Measures everything Quern sets itself a mark for, and prints the mark, the figure and whether it
was met.

Kernels are timed on data in the cache and compared with this machine's own multiply-add peak or
bandwidth; models beside onnxruntime, in turns (peer.py); starts in processes of their own, each
with a cache that is empty, then filled. Every figure is the best of several processes, or, for
starts, their median with the least and the largest: nothing here is a test, since a machine that
is shared can miss any mark. The exit status only says whether everything could be measured.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile

import peer

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
NESTS = os.path.join(ROOT, "tests/golden/nest")

# Shares of the multiply-add peak, or of the bandwidth at the size of the data.
SHARES = {
    90: ("gemm_512", "gemm_1024", "gemm_2048", "gemm_128", "gemm_8", "gemm_const"),
    85: ("gemm_512_run", "gemm_1024_run", "gemm_2048_run", "gemm_128_run", "gemm_run", "gemv",
         "softmax_last", "layernorm", "sum_rows", "sum_cols", "sum_all", "transpose7", "concat_pad",
         "gather"),
    50: ("pack_gemm", "pack_1x1", "pack_3x3"),
}
# Highest ratio to onnxruntime.
RATIOS = {"resnet50": 1.0, "bert_base": 1.0, "mobilenet": 1.2, "gpt2_step": 1.2, "lstm": 1.2,
          "mlp_tiny": 1.2}
COLD_MS = {"resnet50": 200, "bert_base": 150}
# batch, sequence: from one program for any.
SIZES = ((1, 1), (1, 16), (1, 128), (2, 64), (4, 32), (1, 384))


class Report:
    """Lines of the table, printed as they come and kept for --json."""

    def __init__(self):
        self.lines = []

    def add(self, what, mark, figure, met, note=""):
        self.lines.append({"what": what, "mark": mark, "figure": figure, "met": met, "note": note})
        verdict = {True: "met", False: "missed", None: ""}[met]
        print(f"{what:<44} {mark:>22} {figure:>24}  {verdict:<6} {note}".rstrip(), flush=True)


def run_json(command, timeout=300):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=timeout)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.strip()[-500:]}")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def time_kernels(options, names):
    """By name: the figures of the process in which each came nearest to its roof."""
    files = [os.path.join(NESTS, name + ".nest") for name in names]
    best = {}
    for _ in range(options.processes):
        for line in run_json([options.quern, "kernel", "--json", "--repeat", "20", *files]):
            held = best.get(line["kernel"])
            if not held or line["percent"] > held["percent"]:
                best[line["kernel"]] = line
    return best


def report_kernels(options, report):
    for mark, names in SHARES.items():
        for name, line in time_kernels(options, names).items():
            report.add(name, f">= {mark} % of the roof", f"{line['percent']:.1f} %",
                       line["percent"] >= mark, f"{line['best_us']:.1f} us")
    names = sorted(file[:-5] for file in os.listdir(NESTS) if file.startswith("rn50_"))
    lines = time_kernels(options, names).values()
    spent = sum(line["best_us"] for line in lines)
    least = sum(line["best_us"] * line["percent"] / 100 for line in lines)
    report.add(f"ResNet-50's {len(names)} convolutions", ">= 92 % of the peak",
               f"{100 * least / spent:.1f} %", least >= 0.92 * spent,
               f"{spent / 1e3:.2f} ms, each by its time")
    # One after another on one thread, packing kernels too; the convolutions and six other kinds.
    names += ["gemm_const", "gemv", "softmax_last", "layernorm", "depthwise3x3", "chain"]
    sums = []
    for _ in range(options.processes):
        files = [os.path.join(NESTS, name + ".nest") for name in names]
        lines = run_json([options.quern, "kernel", "--json", "--compile-only", *files])
        sums.append(sum(line["compile_ms"] for line in lines))
    kernels = sum(line["kernels"] for line in lines)
    report.add(f"compiling {len(names)} nests, one thread", "< 200 ms", f"{min(sums):.0f} ms",
               min(sums) < 200, f"{kernels} kernels, {min(sums) / kernels:.1f} ms each")


def model_file(options, name):
    path = os.path.join(options.models, name + ".onnx")
    if not os.path.exists(path):
        subprocess.run([sys.executable, os.path.join(HERE, "models/generate.py"), options.models,
                        "--only", name], check=True)
    return path


def report_models(options, report):
    for name, mark in RATIOS.items():
        for threads in (1, 2):
            got = peer.measure(options, model_file(options, name), threads)
            report.add(f"{name}, {threads} thread{'s' * (threads > 1)}",
                       f"<= {mark:.1f} of onnxruntime", f"{got['ratio']:.3f}",
                       got["ratio"] <= mark,
                       f"{got['quern_ms']:.4g} ms ({got['quern_spread']:.2f}) against "
                       f"{got['peer_ms']:.4g} ({got['peer_spread']:.2f}), {got['peer']}")
            tool = got["quern"]
            if name == "gpt2_step" and threads == 1:
                report.add("gpt2_step, share of the read bandwidth", ">= 80 %",
                           f"{tool['percent_of_peak']:.1f} %", tool["percent_of_peak"] >= 80)
            if name == "mlp_tiny" and threads == 1:
                limit = 1 + 0.3 * tool["kernels"]
                taken = 1e3 * got["quern_ms"]
                report.add("mlp_tiny, a call", f"<= {limit:.1f} us", f"{taken:.2f} us",
                           taken <= limit, f"{tool['kernels']} kernels")


def bench(options, model, *more):
    return run_json([options.quern, "bench", model, "--json", "--duration", "0.3", *more])[0]


def of_several(values):
    return f"{statistics.median(values):.1f} ({min(values):.1f}-{max(values):.1f}) ms"


def report_starts(options, report):
    for name in ("resnet50", "bert_base", "mobilenet", "gpt2_step", "lstm"):
        model = model_file(options, name)
        starts = [bench(options, model, "--threads", "2") for _ in range(options.starts)]
        cold = [line["cold_compile_ms"] for line in starts]
        mark = COLD_MS.get(name)
        report.add(f"{name}, cold start, 2 threads", f"<= {mark} ms" if mark else "",
                   of_several(cold), statistics.median(cold) <= mark if mark else None)
        report.add(f"{name}, warm start, 2 threads", "", of_several(
            [line["warm_load_ms"] for line in starts]), None, "packing of weights included")
    model = model_file(options, "resnet50")
    with tempfile.TemporaryDirectory() as folder:
        pack = os.path.join(folder, "resnet50.qnp")
        subprocess.run([options.quern, "prewarm", model, "--target", "cpu", "-o", pack],
                       check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for threads in ("1", "2"):
            warm = [bench(options, model, "--threads", threads, "--pack", pack)["warm_load_ms"]
                    for _ in range(options.starts)]
            report.add(f"resnet50 from a pack, {threads} thread{'s' * (threads > '1')}",
                       "<= 15 ms", of_several(warm), statistics.median(warm) <= 15)


def report_generic(options, report):
    model = model_file(options, "bert_dynamic")
    for batch, sequence in SIZES:
        sizes = ["--threads", "1", "--dim", f"batch={batch}", "--dim", f"sequence={sequence}"]
        times = {"generic": [], "special": []}
        for _ in range(options.processes):
            for kind, more in (("generic", ["--generic"]), ("special", [])):
                times[kind].append(bench(options, model, *sizes, *more)["steady_median_ms"])
        speed = min(times["special"]) / min(times["generic"])
        report.add(f"bert for any size, at {batch} x {sequence}", ">= 0.9 of specialised",
                   f"{speed:.2f}", speed >= 0.9, f"{min(times['generic']):.1f} ms")


def report_sizes(options, report):
    build = os.path.dirname(os.path.dirname(options.quern))
    for name in ("libquern_runtime", "libquern"):
        library = next((os.path.join(folder, name + ".so") for folder, _, files in os.walk(build)
                        if name + ".so" in files), None)
        if not library:
            continue
        with tempfile.NamedTemporaryFile() as stripped:
            subprocess.run(["strip", "-o", stripped.name, library], check=True)
            size = os.path.getsize(stripped.name)
        report.add(f"{name}.so, stripped", "", f"{size / 1e6:.2f} MB", None)


PARTS = {"kernels": report_kernels, "models": report_models, "starts": report_starts,
         "generic": report_generic, "sizes": report_sizes}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n", maxsplit=1)[0])
    parser.add_argument("part", nargs="*", metavar="PART",
                        help=f"of {', '.join(PARTS)} (all)")
    parser.add_argument("--models", default=os.path.join(ROOT, "build/models"), metavar="DIR",
                        help="the models; what is missing is made (build/models)")
    parser.add_argument("--quern", default=os.path.join(ROOT, "build/tools/quern"),
                        help="the tool (build/tools/quern)")
    parser.add_argument("--processes", type=int, default=3, metavar="N",
                        help="processes of each kernel and model (3)")
    parser.add_argument("--starts", type=int, default=7, metavar="N", help="starts (7)")
    parser.add_argument("--duration", type=float, default=0.5, metavar="SECONDS",
                        help="of the timed runs of onnxruntime (0.5)")
    parser.add_argument("--json", metavar="FILE", help="write the lines here as well")
    options = parser.parse_args()
    unknown = [part for part in options.part if part not in PARTS]
    if unknown:
        parser.error(f"no part '{unknown[0]}'; there are {', '.join(PARTS)}")
    if not os.access(options.quern, os.X_OK):
        print(f"reach: no tool at {options.quern}; build it or give --quern", file=sys.stderr)
        return 2
    options.device, options.dim, options.peer_only, options.warm_up = "cpu", [], False, 0.5
    report, failed = Report(), False
    for part in options.part or PARTS:
        try:
            PARTS[part](options, report)
        except (RuntimeError, ValueError, subprocess.SubprocessError, OSError) as problem:
            print(f"reach: {part}: {problem}", file=sys.stderr)
            failed = True
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            json.dump(report.lines, file, indent=2)
            file.write("\n")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
