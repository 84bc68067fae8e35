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


BATCH = 16  # images of the job "batch"


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
            backend="cuda" if self.settings["device"] == "cuda" else None,
        )
        files = [self.work / "adapters" / n for n in ("text_adapter.pth", "image_adapter_20.pth")]
        adapters = model.adapters(*files)
        texts = aaclip.TextCache(model, adapters, vocabulary=self.work / "vocabulary.txt.gz")
        return model, adapters, texts

    def open_detector(self):
        model, adapters, texts = self.open_model()
        texts["nut"] = numpy.load(self.work / "pair.npy")
        return aaclip.Detector(model, texts, adapters, image_size=self.settings["image_size"])

    def detect(self):
        detector = self.open_detector()
        picture = numpy.load(self.work / "picture.npy")
        return lambda: detector.detect(picture, "nut", copy=False).map

    def batch(self):
        detector = self.open_detector()
        pictures = [numpy.load(self.work / "picture.npy")] * BATCH
        # Maps in the library's memory, which lasts until the next call: PyTorch's are not copied on
        # from where they arrive, either.
        return lambda: [
            result.map for result in detector.detect_batch(pictures, "nut", copy=False)
        ]

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
    """Eager or compiled PyTorch, with its fused attention; bf16 and f16 by autocast."""

    compiled = False

    def __init__(self, settings):
        global torch, network
        import torch

        import network

        self.settings, self.work = settings, Path(settings["work"])
        self.device = settings["device"]
        self.type = {"bf16": torch.bfloat16, "f16": torch.float16}.get(settings["precision"])
        torch.set_num_threads(settings["threads"])
        self.versions = {"PyTorch": torch.__version__}
        if self.device == "cuda":
            self.versions["GPU"] = torch.cuda.get_device_name()

    def array(self, name):
        return torch.from_numpy(numpy.load(self.work / name))

    def load(self):
        model = network.load(self.work / "clip.pt", self.work / "adapters")
        model = model.requires_grad_(False).to(self.device)
        torch.set_default_device(self.device)  # what the forward makes itself
        return model

    def autocast(self):
        if self.type:
            return torch.autocast(self.device, self.type)
        return contextlib.nullcontext()

    def narrow(self, module):
        """On a GPU frozen matrices are kept in their type, which autocast need not convert any more."""
        if self.device == "cpu" or not self.type:
            return module
        for part in module.modules():
            if isinstance(part, (torch.nn.Linear, torch.nn.Conv2d)) or hasattr(part, "in_proj_weight"):
                for parameter in part.parameters(recurse=False):
                    parameter.data = parameter.data.to(self.type)
        return module

    def compile(self, what):
        mode = "reduce-overhead" if self.device == "cuda" else None  # with CUDA graphs
        return torch.compile(what, mode=mode) if self.compiled else what

    def prepared(self, module):
        return self.compile(self.narrow(module.eval()))

    def detector(self, pictures):
        pair = self.array("pair.npy").to(self.device)
        module = network.Detection(self.load(), pair, self.settings["image_size"]).to(self.device)
        module = self.prepared(module)

        def detect():
            with torch.inference_mode(), self.autocast():
                return module(pictures.to(self.device))[0].float().cpu().numpy()

        return detect

    def detect(self):
        return self.detector(self.array("picture.npy"))

    def batch(self):
        return self.detector(torch.stack([self.array("picture.npy")] * BATCH))

    def text(self):
        ids = self.array("ids.npy")
        module = self.prepared(network.Prompts(self.load()))

        def encode():
            with torch.inference_mode(), self.autocast():
                features = module(ids.to(self.device)).float().cpu().numpy()
            return class_pair(features, self.settings["normal_count"])

        return encode

    def train(self):
        from argparse import Namespace

        import aaclip_train

        model, size = self.load(), self.settings["image_size"]
        self.narrow(model.clip)
        pair = self.array("pair.npy").to(self.device)
        stage = aaclip_train.ImageStage(
            model, lambda name: pair, Namespace(balanced=False), ["nut"]
        )
        stage.parameters.requires_grad_(True)
        optimizer = torch.optim.Adam(stage.parameters.parameters(), lr=5e-4, betas=(0.5, 0.999))
        samples = aaclip_train.read_manifest(self.work / "train.jsonl", self.work)[:2]

        with torch.device("cpu"):  # once, as a loader in the background would have it ready
            loaded = aaclip_train.load_batch(model, samples, size)
        losses = self.compile(stage.losses)

        def step():
            optimizer.zero_grad()
            moved = (x.to(self.device) for x in (loaded.pixels, loaded.mask, loaded.label))
            with self.autocast():
                total = losses(aaclip_train.Batch(*moved, loaded.class_names))[0]
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
            self.result = None
            started = time.perf_counter()
            self.result = self.run()
            return {"seconds": time.perf_counter() - started}
        if command == "result":
            numpy.save(arguments[0], numpy.stack(self.result))
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
