"""Measures libaaclip beside PyTorch, ONNX Runtime and OpenVINO, and writes docs/performance.md.

    python3 -m venv peers && peers/bin/pip install -r tests/peers/requirements.txt
    peers/bin/python tests/peers/compare.py --build build --work peers/work

The same random weights, picture and prompts for all. Every peer has a process of its own and as many
threads; they run in turn, whose order rotates, with a bare oneDNN product before each. Before anything is timed the
peers' results must agree with PyTorch's. What cannot be measured here is named as skipped.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

import numpy

import table
import worker

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
JOBS = ("detect", "batch", "text", "train")
PEERS = ("aaclip", "onnxruntime", "openvino", "torch", "torch-compile")
CPU_ONLY = ("onnxruntime", "openvino")
CONFIGS = ("vit-l-14-336", "vit-b-32", "nano")

# Which peers have no such thing, and why; job, precision, device or "job on device" -> peer -> words.
LACKS = {
    "cuda": dict.fromkeys(CPU_ONLY, "measured on the processor alone"),
    "batch": dict.fromkeys(CPU_ONLY, "exported for one image"),
    "train": {
        "onnxruntime": "its Python package for inference does not train",
        "openvino": "it does not train",
    },
    "train on cpu": {"torch-compile": "a step is compared with eager PyTorch"},
    "bf16": {"onnxruntime": "its CPU provider has no bf16 products"},
}

# Largest difference over largest value against PyTorch in f32.
TOLERANCE = {"f32": 1e-3, "bf16": 3e-2, "f16": 5e-3}
REST_S = 0.3  # between runs, so that no peer's threads still spin


class Failure(Exception):
    pass


class Worker:
    """A running worker.py; commands as there."""

    def __init__(self, peer, job, settings_path, environment):
        self.name = f"{peer}, {job}"
        self.process = subprocess.Popen(
            [sys.executable, HERE / "worker.py", peer, job, settings_path],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment,
        )  # fmt: skip

    def ask(self, *command):
        try:
            print(*command, file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise Failure(f"{self.name}: failed at '{command[0]}'; its message is above")
        time.sleep(REST_S)
        return json.loads(line)

    def close(self):
        self.process.stdin.close()
        self.process.wait()


class Comparison:
    def __init__(self, options):
        self.options = options
        self.work = options.work.resolve()
        self.build = options.build.resolve()
        self.versions, self.skipped, self.results = {}, [], []
        self.gflop = None

    def program(self, name):
        path = self.build / "examples" / name
        if not path.exists():
            raise Failure(f"{path}: not found; --build names a folder that ninja has built")
        return path

    def environment(self):
        libraries = sorted((self.build / "lib").glob("libaaclip.so.?"))
        if not libraries:
            raise Failure(f"{self.build / 'lib'}: expected libaaclip.so, found none")
        threads = str(self.options.threads)
        python = [str(ROOT / "bindings" / "python" / "src"), os.environ.get("PYTHONPATH", "")]
        return {
            **os.environ, "OMP_NUM_THREADS": threads, "AACLIP_LIBRARY": str(libraries[0]),
            "PYTHONPATH": os.pathsep.join(filter(None, python)), "PYTHONWARNINGS": "ignore",
        }  # fmt: skip

    def write_settings(self, precision):
        done = self.work / "done.json"
        settings = {
            "work": str(self.work), "config": self.options.config,
            "image_size": self.options.image_size, "threads": self.options.threads,
            "precision": precision, "convert": str(self.program("aaclip-convert")),
            "device": self.options.device,
            **(json.loads(done.read_text()) if done.exists() else {}),
        }  # fmt: skip
        path = self.work / "settings.json"
        path.write_text(json.dumps(settings))
        return path

    def prepare(self):
        self.work.mkdir(parents=True, exist_ok=True)
        done = self.work / "done.json"
        if done.exists():
            found = json.loads(done.read_text())
            for name in ("config", "image_size", "device"):
                expected = getattr(self.options, name)
                if found.get(name, "cpu") != expected:
                    raise Failure(
                        f"{self.work}: expected {name} {expected}, found {found[name]}; "
                        "name another --work"
                    )
            return
        print("preparing weights and exports", flush=True)
        command = [sys.executable, HERE / "prepare.py", self.write_settings("f32")]
        if subprocess.run(command, env=self.environment(), check=False).returncode:
            raise Failure("prepare.py failed; its message is above")

    def bench(self, *arguments):
        """The figures of an aaclip-bench run."""
        command = [self.program("aaclip-bench"), *map(str, arguments), "--json", "-"]
        command += ["--threads", str(self.options.threads)]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise Failure(f"aaclip-bench {arguments[0]}: {run.stderr.strip()}")
        return json.loads(run.stdout)["figures"]

    def product_gflops(self, precision):
        if self.options.device != "cpu":
            return 0  # that product is the processor's
        figures = self.bench("roofline", "--precision", precision, "--repeat", 1)
        return figures["product_gflops"]["median"]

    def detection_gflop(self):
        adapters = self.work / "adapters"
        figures = self.bench(
            "detect", "--model", self.work / "clip.safetensors", "--adapters",
            adapters / "text_adapter.pth", "--adapters", adapters / "image_adapter_20.pth",
            "--image-size", self.options.image_size, "--repeat", 1,
            *(("--backend", "cuda") if self.options.device == "cuda" else ()),
        )  # fmt: skip
        return figures["gflop"]["median"]

    def peers_of(self, job, precision):
        chosen = []
        device = self.options.device
        for peer in self.options.peers:
            whats = (device, job, precision, f"{job} on {device}")
            lacks = (LACKS.get(what, {}).get(peer) for what in whats)
            reason = next(filter(None, lacks), None)
            if reason:
                self.skip(f"{peer}, {job}, {precision}: {reason}")
            else:
                chosen.append(peer)
        return chosen

    def skip(self, words):
        print(f"skipped: {words}", flush=True)
        self.skipped.append(words)

    def check(self, job, precision, workers):
        """Every peer's first result against PyTorch's in f32: peer -> difference."""
        results = {}
        for peer, worker in workers.items():
            path = self.work / f"{precision}-{job}-{peer}.npy"
            worker.ask("result", path)
            results[peer] = numpy.load(path).astype(numpy.float64)
        judge = self.work / f"f32-{job}-torch.npy"
        if not judge.exists():
            raise Failure(f"{judge}: not found; measure f32 first, which judges {precision}")
        expected = numpy.load(judge).astype(numpy.float64)
        errors = {}
        for peer, found in results.items():
            if found.shape != expected.shape:
                raise Failure(f"{peer}, {job}: expected {expected.shape}, found {found.shape}")
            error = float(abs(found - expected).max() / abs(expected).max())
            if not error <= TOLERANCE[precision]:
                raise Failure(
                    f"{peer}, {job}, {precision}: expected PyTorch's result within "
                    f"{TOLERANCE[precision]:g}, found a difference of {error:.1e}"
                )
            errors[peer] = error
        return errors

    def round(self, job, precision, rows):
        """Starts every peer, checks, times `repeat` turns; adds to peer -> lists."""
        settings, environment = self.write_settings(precision), self.environment()
        workers = {}
        try:
            first = {}
            for peer in rows:
                workers[peer] = Worker(peer, job, settings, environment)
                first[peer] = workers[peer].ask("open")
                self.versions.update(first[peer].pop("versions"))
                print(f"  {peer}: first result after {first[peer]['first_s']:.1f} s", flush=True)
            for peer, error in self.check(job, precision, workers).items():
                rows[peer]["difference"].append(error)
            for turn in range(self.options.repeat):
                product = self.product_gflops(precision)
                peers = list(rows)
                for peer in peers[turn % len(peers) :] + peers[: turn % len(peers)]:
                    rows[peer]["seconds"].append(workers[peer].ask("run")["seconds"])
                    rows[peer]["product_gflops"].append(product)
            for peer, worker in workers.items():
                rows[peer]["mb"].append(worker.ask("peak")["mb"])
                again = statistics.median(rows[peer]["seconds"][-self.options.repeat :])
                rows[peer]["beyond_s"].append(first[peer]["first_s"] - again)
        finally:
            for worker in workers.values():
                worker.close()

    def measure(self, job, precision):
        names = ("seconds", "product_gflops", "mb", "beyond_s", "difference")
        rows = {peer: {name: [] for name in names} for peer in self.peers_of(job, precision)}
        for number in range(self.options.rounds):
            print(f"{job}, {precision}: round {number + 1} of {self.options.rounds}", flush=True)
            self.round(job, precision, rows)
        for peer, row in rows.items():
            print(f"  {peer}: {table.spread(row['seconds'])} s", flush=True)
        images = {"detect": 1, "batch": worker.BATCH}.get(job)
        work = self.gflop * images if images else None
        self.results.append({"job": job, "precision": precision, "gflop": work, "peers": rows})

    def run(self):
        self.prepare()
        if {"detect", "batch"} & set(self.options.jobs):
            self.gflop = self.detection_gflop()
        for precision in self.options.precisions:
            on_cpu = self.options.device == "cpu"
            if on_cpu and precision == "bf16" and not processor_has("avx512_bf16"):
                self.skip("bf16: this processor has no avx512_bf16")
                continue
            if on_cpu and precision == "f16":
                self.skip("f16: the library has it on a GPU")
                continue
            for job in self.options.jobs:
                if precision == "f16" and job == "train":
                    self.skip("f16: not for training")
                else:
                    self.measure(job, precision)

    def report(self):
        return {
            "machine": machine(), "versions": self.versions, "note": self.options.note,
            "command": " ".join(["tests/peers/compare.py", *sys.argv[1:]]),
            "settings": {
                name: getattr(self.options, name)
                for name in ("config", "image_size", "device", "threads", "repeat", "rounds")
            },
            "results": self.results, "skipped": self.skipped,
        }  # fmt: skip


def processor_lines():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        return [tuple(p.strip() for p in line.split(":", 1)) for line in file if ":" in line]


def processor_has(flag):
    return any(name == "flags" and flag in value.split() for name, value in processor_lines())


def machine():
    """Processor with its family and model, processors, memory, system."""
    found = dict(reversed(processor_lines()))  # the first processor's
    kinds = [f for f in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if processor_has(f)]
    system = f"{platform.system()} {'.'.join(platform.release().split('.')[:2])}"
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{found.get('model name', platform.machine())} (family {found.get('cpu family', '?')}, "
        f"model {found.get('model', '?')}; {', '.join(kinds) or 'no vector extension named'}), "
        f"{os.cpu_count()} processors, {memory:.0f} GB, {system}"
    )


def parse_arguments():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--build", type=Path, default=ROOT / "build", help="meson's folder [build]")
    parser.add_argument("--work", type=Path, required=True, help="folder to keep weights, 4 GB")
    parser.add_argument("--config", choices=CONFIGS, default=CONFIGS[0])
    parser.add_argument("--image-size", type=int, default=518)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument(
        "--jobs", nargs="+", choices=JOBS, help="[all; on the processor without batch]"
    )  # fmt: skip
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS)
    parser.add_argument(
        "--precisions", nargs="+", choices=TOLERANCE, default=["f32", "bf16"],
        help="all are judged by f32, of this run or of one before in the same --work",
    )  # fmt: skip
    parser.add_argument("--repeat", type=int, default=5, help="turns in a round [5]")
    parser.add_argument("--rounds", type=int, default=2, help="starts of all peers [2]")
    parser.add_argument("--note", default="", help="a sentence above the table")
    parser.add_argument("--json", type=Path, help="also write every value")
    parser.add_argument("--output", type=Path, default=ROOT / "docs" / "performance.md")
    options = parser.parse_args()
    options.peers = [p for p in PEERS if p in options.peers or p == "torch"]  # torch judges
    options.precisions = [p for p in TOLERANCE if p in options.precisions]
    options.jobs = options.jobs or [j for j in JOBS if j != "batch" or options.device == "cuda"]
    if min(options.repeat, options.rounds, options.threads) < 1:
        parser.error("--repeat, --rounds and --threads: expected 1 or more")
    return options


def main():
    options = parse_arguments()
    comparison = Comparison(options)
    try:
        table.check_file(options.output)
        comparison.run()
        report = comparison.report()
        if options.json:
            options.json.write_text(json.dumps(report, indent=1) + "\n")
        table.write(options.output, report)
    except (Failure, table.NoPlace) as failure:
        sys.exit(f"compare.py: {failure}")
    print(f"wrote {options.output}")


if __name__ == "__main__":
    main()
