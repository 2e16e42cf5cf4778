#!/usr/bin/env python3
"""Times models under onnxruntime and under quern, alternating processes, and prints the ratio.

Machines drift by several percent within minutes, so the two take turns: for every (model, threads)
one process of the peer, one of quern, and so on, at least 3 of each. Each process warms up for
0.5 s, runs for about 2 s and gives the median of its runs; compared are the least medians. The
peer runs on its CPU provider, sequentially, at the better of its optimisation levels 1 and 99
(a short trial of each picks it). A ratio under 1 means quern is faster; below about 1.10 on one
thread and 1.15 on two a difference is noise, 1.3 where memory or a 30 us call decides.
The peer is driven from Python with its inputs and outputs bound beforehand; the binding's call
costs a fraction of a microsecond, which shows in models of a few microseconds only.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
sys.path.insert(0, os.path.join(HERE, "models"))
LEVELS = (1, 99)


def time_runs(run, warm_up, duration, limit=100000):
    """Milliseconds of every run: first `warm_up` seconds unrecorded, then `duration` seconds."""
    end = time.perf_counter() + warm_up
    while True:
        run()
        if time.perf_counter() >= end:
            break
    times = []
    end = time.perf_counter() + duration
    while True:
        start = time.perf_counter()
        run()
        now = time.perf_counter()
        times.append(1e3 * (now - start))
        if len(times) >= limit or (now >= end and len(times) >= 3):
            return times


def peer_process(options):
    """One measured process of onnxruntime: prints one JSON object."""
    import onnx
    import onnxruntime as ort
    from compare import parse_dims
    from feeds import make_feeds
    feeds = make_feeds(onnx.load(options.model[0], load_external_data=False),
                       parse_dims(options.dim))
    settings = ort.SessionOptions()
    settings.log_severity_level = 3
    settings.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    settings.intra_op_num_threads = options.threads[0]
    settings.inter_op_num_threads = 1
    levels = {1: ort.GraphOptimizationLevel.ORT_ENABLE_BASIC,
              99: ort.GraphOptimizationLevel.ORT_ENABLE_ALL}
    settings.graph_optimization_level = levels[options.level]
    start = time.perf_counter()
    session = ort.InferenceSession(options.model[0], settings,
                                   providers=["CPUExecutionProvider"])
    created = 1e3 * (time.perf_counter() - start)
    # Bound once: the run is the engine's, without Python's conversions of the inputs.
    binding = session.io_binding()
    for name, array in feeds.items():
        binding.bind_cpu_input(name, array)
    for output in session.get_outputs():
        binding.bind_output(output.name, "cpu")
    times = time_runs(lambda: session.run_with_iobinding(binding), options.warm_up,
                      options.duration)
    print(json.dumps({"median_ms": statistics.median(times), "least_ms": min(times),
                      "runs": len(times), "session_ms": created, "level": options.level,
                      "version": ort.__version__}))
    return 0


def last_json(text):
    for line in reversed(text.strip().splitlines()):
        if line.startswith("{"):
            return json.loads(line)
    raise ValueError("no JSON object in the output")


def run_child(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                          timeout=300)
    if done.returncode != 0:
        raise RuntimeError(f"status {done.returncode}: {done.stderr.strip()[-500:]}")
    return last_json(done.stdout)


def run_peer(options, model, threads, level, duration=None):
    command = [sys.executable, os.path.abspath(__file__), model, "--peer-process",
               "--threads", str(threads), "--level", str(level),
               "--warm-up", str(options.warm_up), "--duration", str(duration or options.duration)]
    for pair in options.dim:
        command += ["--dim", pair]
    return run_child(command)


def run_quern(options, model, threads):
    command = [options.quern, "bench", model, "--json", "--device", options.device,
               "--threads", str(threads)]
    for pair in options.dim:
        command += ["--dim", pair]
    return run_child(command)


def spread(values):
    """How far the process medians lie apart: largest over least."""
    return max(values) / min(values)


def measure(options, model, threads):
    """Alternating processes of both; a dict of the figures."""
    name = os.path.splitext(os.path.basename(model))[0]
    trial = {level: run_peer(options, model, threads, level, options.duration / 2)["median_ms"]
             for level in LEVELS}
    level = min(trial, key=trial.get)
    peers, querns = [], []
    for _ in range(options.processes):
        peers.append(run_peer(options, model, threads, level))
        if not options.peer_only:
            querns.append(run_quern(options, model, threads))
    medians = [p["median_ms"] for p in peers]
    result = {"model": name, "threads": threads, "peer": "onnxruntime " + peers[0]["version"],
              "peer_level": level, "peer_trial_ms": {str(k): v for k, v in trial.items()},
              "peer_ms": min(medians), "peer_medians_ms": medians,
              "peer_spread": spread(medians), "peer_runs": sum(p["runs"] for p in peers),
              "peer_session_ms": min(p["session_ms"] for p in peers)}
    if querns:
        medians = [q["steady_median_ms"] for q in querns]
        result |= {"quern_ms": min(medians), "quern_medians_ms": medians,
                   "quern_spread": spread(medians), "quern_runs": sum(q["runs"] for q in querns),
                   "ratio": min(medians) / result["peer_ms"],
                   "quern": min(querns, key=lambda q: q["steady_median_ms"])}
    return result


HEADER = (f"{'model':<24} {'thr':>3} {'ort ms':>10} {'lvl':>3} {'spread':>6} {'create':>8} "
          f"{'quern ms':>10} {'spread':>6} {'cold ms':>8} {'warm ms':>8} {'quern/ort':>9}")


def row(result):
    text = (f"{result['model']:<24} {result['threads']:>3} {result['peer_ms']:>10.4f} "
            f"{result['peer_level']:>3} {result['peer_spread']:>6.2f} "
            f"{result['peer_session_ms']:>8.1f} ")
    if "ratio" not in result:
        return text + f"{'-':>10} {'-':>6} {'-':>8} {'-':>8} {'-':>9}"
    tool = result["quern"]
    return text + (f"{result['quern_ms']:>10.4f} {result['quern_spread']:>6.2f} "
                   f"{tool.get('cold_compile_ms') or 0:>8.1f} "
                   f"{tool.get('warm_load_ms') or 0:>8.1f} {result['ratio']:>9.3f}")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("model", nargs="+", help="ONNX files")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2], metavar="N")
    parser.add_argument("--processes", type=int, default=3, metavar="N",
                        help="measured processes of each (3, at least)")
    parser.add_argument("--warm-up", type=float, default=0.5, metavar="SECONDS")
    parser.add_argument("--duration", type=float, default=2.0, metavar="SECONDS",
                        help="of the timed runs of a peer process (2)")
    parser.add_argument("--quern", default=os.path.join(ROOT, "build/tools/quern"),
                        help="the tool (build/tools/quern)")
    parser.add_argument("--device", default="cpu", help="quern's device (cpu)")
    parser.add_argument("--dim", action="append", default=[], metavar="SYMBOL=N",
                        help="size of a symbolic dim")
    parser.add_argument("--peer-only", action="store_true", help="onnxruntime alone")
    parser.add_argument("--json", metavar="FILE", help="write the results here as well")
    parser.add_argument("--peer-process", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--level", type=int, choices=LEVELS, default=99, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.peer_process:
        return peer_process(options)
    if not options.peer_only and not os.access(options.quern, os.X_OK):
        print(f"peer: no tool at {options.quern}; build it, give --quern, or use --peer-only",
              file=sys.stderr)
        return 2
    if options.processes < 3:
        print("peer: fewer than 3 processes cannot tell a difference from noise",
              file=sys.stderr)
    results, failed = [], False
    print(HEADER, flush=True)
    for model in options.model:
        for threads in options.threads:
            try:
                result = measure(options, model, threads)
            except (RuntimeError, ValueError, subprocess.TimeoutExpired) as problem:
                print(f"peer: {model}, {threads} threads: {problem}", file=sys.stderr)
                failed = True
                continue
            results.append(result)
            print(row(result), flush=True)
    text = json.dumps(results, indent=2)
    if options.json:
        with open(options.json, "w", encoding="utf-8") as file:
            file.write(text + "\n")
    else:
        print(text)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
