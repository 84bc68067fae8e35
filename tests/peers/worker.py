"""One peer at one job, in a process of its own: python3 worker.py PEER JOB SETTINGS.json

Reads commands from stdin, a line each, and answers each with a line of JSON:

    open         {"open_s", "first_s", "versions"}: files to ready, then the first run
    run          {"seconds"}
    result FILE  writes what the last run gave, .npy
    peak         {"mb"}: largest resident memory so far
"""

import contextlib
import json
import os
import sys
import time
from pathlib import Path

import numpy


def class_pair(features, normal_count):
    """Features (P, E), the normal prompts first -> [normal, abnormal] (2, E)."""
    features = features / numpy.linalg.norm(features, axis=-1, keepdims=True)
    return numpy.stack([features[:normal_count].mean(0), features[normal_count:].mean(0)])


class Aaclip:
    """The library itself, through its Python package."""

    def __init__(self, settings):
        global aaclip
        import aaclip

        self.settings, self.work = settings, Path(settings["work"])
        self.versions = {"libaaclip": aaclip.__version__}

    def open_model(self):
        model = aaclip.Model.open(
            self.work / "clip.safetensors",
            threads=self.settings["threads"],
            precision=self.settings["precision"],
        )
        files = [self.work / "adapters" / n for n in ("text_adapter.pth", "image_adapter_20.pth")]
        adapters = model.adapters(*files)
        texts = aaclip.TextCache(model, adapters, vocabulary=self.work / "vocabulary.txt.gz")
        return model, adapters, texts

    def detect(self):
        model, adapters, texts = self.open_model()
        texts["nut"] = numpy.load(self.work / "pair.npy")
        size = self.settings["image_size"]
        detector = aaclip.Detector(model, texts, adapters, image_size=size)
        picture = numpy.load(self.work / "picture.npy")
        return lambda: numpy.array(detector.detect(picture, "nut").map)

    def text(self):
        texts = self.open_model()[2]

        def build():
            texts.build({"nut": "metal nut"})
            return numpy.stack(texts["nut"])

        return build

    def train(self):
        model, adapters, texts = self.open_model()
        texts["nut"] = numpy.load(self.work / "pair.npy")
        dataset = aaclip.Dataset(self.work / "train.jsonl")
        trainer = aaclip.Trainer(
            model, dataset, "image", texts, initial=adapters, augmentation=False, shuffle=False,
            image_size=self.settings["image_size"], batch_size=2,
        )  # fmt: skip
        return lambda: numpy.array([trainer.step().total])


class Torch:
    """Eager or compiled PyTorch, with its fused attention; bf16 by autocast."""

    compiled = False

    def __init__(self, settings):
        global torch, network
        import torch

        import network

        self.settings, self.work = settings, Path(settings["work"])
        torch.set_num_threads(settings["threads"])
        self.versions = {"PyTorch": torch.__version__}

    def load(self):
        model = network.load(self.work / "clip.pt", self.work / "adapters")
        return model.requires_grad_(False)

    def autocast(self):
        if self.settings["precision"] == "bf16":
            return torch.autocast("cpu", torch.bfloat16)
        return contextlib.nullcontext()

    def prepared(self, module):
        module = module.eval()
        return torch.compile(module) if self.compiled else module

    def detect(self):
        pair = torch.from_numpy(numpy.load(self.work / "pair.npy"))
        module = network.Detection(self.load(), pair, self.settings["image_size"])
        module = self.prepared(module)
        picture = torch.from_numpy(numpy.load(self.work / "picture.npy"))

        def detect():
            with torch.inference_mode(), self.autocast():
                return module(picture)[0].float().numpy()

        return detect

    def text(self):
        module = self.prepared(network.Prompts(self.load()))
        ids = torch.from_numpy(numpy.load(self.work / "ids.npy"))

        def encode():
            with torch.inference_mode(), self.autocast():
                features = module(ids).float().numpy()
            return class_pair(features, self.settings["normal_count"])

        return encode

    def train(self):
        from argparse import Namespace

        import aaclip_train

        model = self.load()
        pair = torch.from_numpy(numpy.load(self.work / "pair.npy"))
        stage = aaclip_train.ImageStage(
            model, lambda name: pair, Namespace(balanced=False), ["nut"]
        )
        stage.parameters.requires_grad_(True)
        optimizer = torch.optim.Adam(stage.parameters.parameters(), lr=5e-4, betas=(0.5, 0.999))
        samples = aaclip_train.read_manifest(self.work / "train.jsonl", self.work)

        def step():
            optimizer.zero_grad()
            batch = aaclip_train.load_batch(model, samples, self.settings["image_size"])
            with self.autocast():
                total = stage.losses(batch)[0]
            total.backward()
            optimizer.step()
            return numpy.array([total.item()])

        return step


class TorchCompiled(Torch):
    compiled = True


class Onnx:
    """What PyTorch exported."""

    def __init__(self, settings):
        self.settings, self.work = settings, Path(settings["work"])

    def detect(self):
        run = self.session("detect")
        picture = numpy.load(self.work / "picture.npy")
        return lambda: run(picture)

    def text(self):
        run = self.session("text")
        ids = numpy.load(self.work / "ids.npy")
        return lambda: class_pair(run(ids), self.settings["normal_count"])


class OnnxRuntime(Onnx):
    def __init__(self, settings):
        global onnxruntime
        import onnxruntime

        super().__init__(settings)
        self.versions = {"ONNX Runtime": onnxruntime.__version__}

    def session(self, name):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.settings["threads"]
        options.inter_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(
            str(self.work / f"{name}.onnx"), options, providers=["CPUExecutionProvider"]
        )
        name = session.get_inputs()[0].name
        return lambda given: session.run(None, {name: given})[0]


class OpenVino(Onnx):
    def __init__(self, settings):
        global openvino
        import openvino

        super().__init__(settings)
        self.versions = {"OpenVINO": openvino.__version__.split("-")[0]}

    def session(self, name):
        properties = {
            "INFERENCE_NUM_THREADS": self.settings["threads"],
            "NUM_STREAMS": 1,
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_PRECISION_HINT": self.settings["precision"],
        }
        core = openvino.Core()
        compiled = core.compile_model(str(self.work / f"{name}.onnx"), "CPU", properties)
        request = compiled.create_infer_request()
        return lambda given: numpy.array(request.infer([given])[0])


PEERS = {
    "aaclip": Aaclip,
    "onnxruntime": OnnxRuntime,
    "openvino": OpenVino,
    "torch": Torch,
    "torch-compile": TorchCompiled,
}


def peak_memory_mb():
    with open("/proc/self/status", encoding="ascii") as file:
        line = next(line for line in file if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


class Worker:
    def __init__(self, peer, job):
        self.peer, self.job = peer, job
        self.run = self.result = None

    def answer(self, command, *arguments):
        if command == "open":
            started = time.perf_counter()
            self.run = getattr(self.peer, self.job)()
            opened = time.perf_counter()
            self.result = self.run()
            return {
                "open_s": opened - started,
                "first_s": time.perf_counter() - started,
                "versions": self.peer.versions,
            }
        if command == "run":
            started = time.perf_counter()
            self.result = self.run()
            return {"seconds": time.perf_counter() - started}
        if command == "result":
            numpy.save(arguments[0], self.result)
            return {}
        if command == "peak":
            return {"mb": peak_memory_mb()}
        raise ValueError(f"unknown command: {command}")


def main():
    name, job, path = sys.argv[1:]
    with open(path, encoding="utf-8") as file:
        settings = json.load(file)
    # What libraries print must not mix with the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    worker = Worker(PEERS[name](settings), job)
    for line in sys.stdin:
        print(json.dumps(worker.answer(*line.rstrip("\n").split(" ", 1))), file=answers, flush=True)


if __name__ == "__main__":
    main()
