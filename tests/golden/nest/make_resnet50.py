#!/usr/bin/env python3
"""Writes rn50_*.nest beside this file: the distinct convolutions of ResNet-50 v1.5 at batch 1.

Channels-last, weights [oc][kh][kw][ic], bias folded in; ReLU on all but the projections; the last convolution of a
block adds the block's shortcut. v1.5: the stride of a stage is in its first 3x3 convolution.
"""
import pathlib

HERE = pathlib.Path(__file__).parent


def convolution(name, size, kernel, stride, cin, cout, residual=False, relu=True):
    """Text of one convolution of a size x size x cin input."""
    pad = kernel // 2
    out = (size + 2 * pad - kernel) // stride + 1
    lines = [f"nest {name} {{",
             f"  in x f32 [1, {size}, {size}, {cin}]",
             f"  const w f32 [{cout}, {kernel}, {kernel}, {cin}]",
             f"  const b f32 [{cout}]"]
    if residual:
        lines.append(f"  in r f32 [1, {out}, {out}, {cout}]")
    lines += [f"  out y f32 [1, {out}, {out}, {cout}]",
              f"  axis h {out}", f"  axis q {out}", f"  axis o {cout}"]
    if kernel > 1:
        lines += [f"  axis kh {kernel}", f"  axis kw {kernel}"]
    lines.append(f"  axis c {cin}")

    def index(axis, tap):
        text = axis if stride == 1 else f"{stride}*{axis}"
        return text + (f" + {tap} - {pad}" if kernel > 1 else "")

    ih, iw = index("h", "kh"), index("q", "kw")
    guard = f" if 0 <= {ih} < {size}, 0 <= {iw} < {size} else 0" if pad else ""
    taps, over = ("kh, kw", "kh, kw, c") if kernel > 1 else ("0, 0", "c")
    lines += [f"  %0 = load x[0, {ih}, {iw}, c]{guard}",
              f"  %1 = load w[o, {taps}, c]",
              "  %2 = mul f32 %0, %1",
              f"  %3 = reduce sum f32 ({over}) %2",
              "  %4 = load b[o]",
              "  %5 = add f32 %3, %4"]
    last = 5
    if residual:
        lines += ["  %6 = load r[0, h, q, o]", "  %7 = add f32 %5, %6"]
        last = 7
    if relu:
        lines += [f"  %{last + 1} = const f32 0", f"  %{last + 2} = max f32 %{last}, %{last + 1}"]
        last += 2
    lines += [f"  store y[0, h, q, o] %{last}", "}"]
    return "\n".join(lines) + "\n"


def layers():
    """(size, kernel, stride, cin, cout, residual, relu) in the network's order, repetitions left out."""
    yield 224, 7, 2, 3, 64, False, True
    size, cin = 56, 64
    for stage, mid in enumerate((64, 128, 256, 512)):
        stride = 1 if stage == 0 else 2
        out, wide = size // stride, mid * 4
        yield size, 1, 1, cin, mid, False, True         # first block: reduce
        yield size, 3, stride, mid, mid, False, True
        yield out, 1, 1, mid, wide, True, True          # expand, adds the shortcut
        yield size, 1, stride, cin, wide, False, False  # projection shortcut
        yield out, 1, 1, wide, mid, False, True         # other blocks: reduce
        if stride != 1:
            yield out, 3, 1, mid, mid, False, True
        size, cin = out, wide


def main():
    for old in HERE.glob("rn50_*.nest"):
        old.unlink()
    for size, kernel, stride, cin, cout, residual, relu in layers():
        name = f"rn50_{size}_{kernel}x{kernel}_s{stride}_{cin}_{cout}"
        name += "_res" if residual else "" if relu else "_proj"
        text = convolution(name, size, kernel, stride, cin, cout, residual, relu)
        (HERE / f"{name}.nest").write_text(text)


if __name__ == "__main__":
    main()
