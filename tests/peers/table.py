"""The tables of docs/performance.md, between two marks that keep the text around them."""

import statistics

BEGIN, END = "<!-- made by tests/peers/compare.py: begin -->", "<!-- end -->"

TITLES = {
    "detect": "Detection, one image, from pixels to map",
    "batch": "Detection, 16 images in one call, from pixels to maps",
    "text": "Text: the prompts of one class",
    "train": "Training: a step of stage 2, batch 2",
}
NAMES = {
    "aaclip": "libaaclip",
    "onnxruntime": "ONNX Runtime",
    "openvino": "OpenVINO",
    "torch": "PyTorch, eager",
    "torch-compile": "PyTorch, `torch.compile`",
}


class NoPlace(Exception):
    pass


def digits(value):
    """Three of them, at least."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:#.3g}"


def spread(values):
    """Median (least to largest)."""
    middle = digits(statistics.median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({digits(min(values))} to {digits(max(values))})"


def ratios(row, other):
    """Turn by turn, so that both sides had the same conditions."""
    return spread([a / b for a, b in zip(row["seconds"], other["seconds"])])


def product_of(result):
    """Speeds of the bare product, where there was one."""
    return [p for row in result["peers"].values() for p in row["product_gflops"] if p]


def rows_of(result):
    peers, gflop = result["peers"], result["gflop"] if product_of(result) else None
    heads = ["", "seconds", "times libaaclip's", "beyond one run, at the start, s", "peak MB",
             "difference"]  # fmt: skip
    if gflop:
        heads.insert(3, "of the bare product")
    yield heads
    for peer, row in peers.items():
        own = peers.get("aaclip")
        cells = [
            NAMES[peer], spread(row["seconds"]),
            "1" if peer == "aaclip" else ratios(row, own) if own else "",
            spread(row["beyond_s"]), f"{statistics.median(row['mb']):.0f}",
            f"{max(row['difference']):.0e}",
        ]  # fmt: skip
        if gflop:
            shares = [gflop / s / p for s, p in zip(row["seconds"], row["product_gflops"])]
            cells.insert(3, spread(shares))
        yield cells


def table_lines(result):
    rows = list(rows_of(result))
    products = product_of(result)
    yield f"### {TITLES[result['job']]}, {result['precision']}"
    yield ""
    yield "| " + " | ".join(rows[0]) + " |"
    yield "|" + "---|" * len(rows[0])
    for cells in rows[1:]:
        yield "| " + " | ".join(cells) + " |"
    yield ""
    if products:
        yield f"Bare product of oneDNN in the same run: {spread(products)} GFLOP/s."
    if result["gflop"]:
        yield f"A turn needs {digits(result['gflop'])} GFLOP."
    yield ""


def report_lines(report):
    if report["note"]:
        yield f"**{report['note']}**"
        yield ""
    settings = report["settings"]
    yield f"- Command: `{report['command']}`"
    yield f"- Machine: {report['machine']}"
    versions = sorted(report["versions"].items())
    yield "- Versions: " + ", ".join(f"{name} {version}" for name, version in versions)
    yield (
        f"- {settings['config']}, {settings['image_size']} x {settings['image_size']}, "
        f"{settings['device']}, {settings['threads']} threads each, "
        f"{settings['rounds']} x {settings['repeat']} turns"
    )
    for words in report["skipped"]:
        yield f"- Skipped: {words}"
    yield ""
    for result in report["results"]:
        yield from table_lines(result)


def halves(path):
    text = path.read_text(encoding="utf-8") if path.exists() else f"{BEGIN}\n{END}\n"
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise NoPlace(f"{path}: expected the lines '{BEGIN}' and '{END}'")
    return before, after


def check_file(path):
    """Early, before hours of measuring."""
    halves(path)


def write(path, report):
    before, after = halves(path)
    middle = "\n".join(report_lines(report))
    path.write_text(f"{before}{BEGIN}\n\n{middle}\n{END}{after}", encoding="utf-8")
