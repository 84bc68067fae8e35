"""Training of the adapters, in two stages."""

from __future__ import annotations

import ctypes
import weakref
from ctypes import byref, c_void_p
from dataclasses import dataclass
from typing import Any, Callable, Iterator, Optional, Sequence, Union

from . import _structs as s
from ._convert import (
    Path,
    encode_optional,
    encode_optional_path,
    encode_path,
    set_options,
    unsigned,
)
from ._enums import Profile, Scales, Stage, member
from ._functions import lib
from ._handle import Handle, use, use_optional
from ._interrupt import Relay
from .config import ConfigLike, config_pointer
from .datasets import Dataset
from .model import Adapters, Model
from .text import Prompts, TextCache, prompt_file


@dataclass(frozen=True)
class Losses:
    """Terms of the loss, each averaged over the images."""

    total: float
    focal: float  # of the maps, summed over the levels counted
    dice_normal: float
    dice_abnormal: float
    orthogonal: float  # stage 1, before its weight
    classification: float  # stage 2
    images: int  # number averaged over

    @staticmethod
    def _read(own: s.Losses) -> Losses:
        return Losses(**{name: getattr(own, name) for name in s.names(s.Losses)})


@dataclass(frozen=True)
class TrainingProgress:
    """Where training stands."""

    stage: Stage
    epoch: int  # current, counted from 1
    step: int  # optimizer steps done since the beginning
    epoch_step: int  # of those, in this epoch
    epoch_steps: int  # in an epoch
    learning_rate: float  # of the last step
    images_per_second: float  # of the last step, in callbacks
    losses: Optional[Losses]  # of the last step, in callbacks

    @property
    def finished_epochs(self) -> int:
        """Number of epochs trained to their last step."""
        return self.epoch if self.epoch_step == self.epoch_steps else self.epoch - 1

    @staticmethod
    def _read(own: s.TrainingProgress) -> TrainingProgress:
        values = {name: getattr(own, name) for name in s.names(s.TrainingProgress)}
        values["stage"] = Stage(own.stage)
        values["losses"] = Losses._read(own.losses.contents) if own.losses else None
        return TrainingProgress(**values)


Callback = Callable[[TrainingProgress], object]


class _Listener(Relay):
    """The user's callback, as the library calls it. Only its trainer owns it."""

    def __init__(self, function: Optional[Callback]) -> None:
        super().__init__()
        self.function = function

    def trampoline(self) -> Any:
        # Lives as long as the library's trainer: were it to own a callback that refers to the
        # trainer, neither would ever be freed.
        own = weakref.ref(self)

        def after_step(progress: Any, _user: object) -> bool:
            listener = own()
            return listener is not None and listener.after_step(progress.contents)

        return s.TrainingCallback(after_step)

    def after_step(self, progress: s.TrainingProgress) -> bool:
        function = self.function
        return self.call(lambda: function(TrainingProgress._read(progress)) if function else None)


class Trainer(Handle):
    """
    Trains the text adapters (stage "text") or the image adapters (stage "image") of a model.

    Ctrl-C in the main thread cancels the call, or interrupts the callback where it is, and raises
    KeyboardInterrupt: the trainer stays after its last complete step, and can be saved and
    continued. Exceptions of the callback propagate out of `step` or `epoch` after the step. One
    thread at a time may use a trainer; others wait.
    """

    _noun = "trainer"
    _closer = "trainer_close"

    def __init__(
        self,
        model: Model,
        dataset: Dataset,
        stage: Union[Stage, str],
        texts: Optional[TextCache] = None,
        *,
        profile: Union[Profile, str] = Profile.DOCUMENT,
        config: Optional[ConfigLike] = None,
        initial: Optional[Adapters] = None,
        callback: Optional[Callback] = None,
        image_size: Optional[int] = None,
        batch_size: Optional[int] = None,
        accumulate: Optional[int] = None,
        learning_rate: Optional[float] = None,
        beta1: Optional[float] = None,
        beta2: Optional[float] = None,
        epsilon: Optional[float] = None,
        milestones: Optional[Sequence[int]] = None,
        gamma: Optional[float] = None,
        scales: Union[Scales, str, None] = None,
        orthogonal_weight: Optional[float] = None,
        surgery_blocks: Optional[int] = None,
        balanced_focal: Optional[bool] = None,
        seed: Optional[int] = None,
        augmentation: Optional[bool] = None,
        shuffle: Optional[bool] = None,
        recompute: Optional[bool] = None,
        loader_threads: Optional[int] = None,
        log: Optional[Path] = None,
        vocabulary: Optional[Path] = None,
        prompts: Optional[Prompts] = None,
        truncate: Optional[bool] = None,
        phrases: Optional[str] = None,
    ) -> None:
        """
        Samples of `dataset` need labels, abnormal ones also masks. Stage "image" needs `texts` with
        a pair for every class. Options that are None take the library's defaults for the stage and
        profile.

        - `initial`: adapters to start from, with a fresh optimizer; otherwise drawn from the
          `seed`. `config`: of new adapters.
        - `callback(progress)`: called after every optimizer step; False stops with CancelledError.
        - `batch_size` images, `accumulate` batches make a step; Adam with `learning_rate`,
          `beta1`, `beta2`, `epsilon`; the rate is multiplied by `gamma` at `milestones`, steps.
        - Stage "text": `scales`, `orthogonal_weight`, `surgery_blocks`; `vocabulary`, `prompts`,
          `truncate` as for a text cache; `phrases`, a known data set with phrases for the classes.
        - `recompute`: less memory in stage "image", a third more time.
        - `log`: a file to which one JSON object per step is appended.
        """
        at, of = member(Stage, stage, "stage"), member(Profile, profile, "profile")
        options, listener = s.TrainerOptions(), _Listener(callback)
        lib.trainer_options_init_sized(byref(options), ctypes.sizeof(options), at, of)
        trampoline = listener.trampoline()
        set_options(
            options,
            {
                "config": config_pointer(config),
                "image_size": image_size,
                "batch_size": batch_size,
                "accumulate": accumulate,
                "learning_rate": learning_rate,
                "beta1": beta1,
                "beta2": beta2,
                "epsilon": epsilon,
                "gamma": gamma,
                "scales": None if scales is None else member(Scales, scales, "scales"),
                "orthogonal_weight": orthogonal_weight,
                "surgery_blocks": surgery_blocks,
                "balanced_focal": balanced_focal,
                "seed": seed,
                "no_augmentation": None if augmentation is None else not augmentation,
                "no_shuffle": None if shuffle is None else not shuffle,
                "recompute": recompute,
                "loader_threads": loader_threads,
                "log": encode_optional_path(log, "log"),
                "callback": trampoline,
                "vocabulary": encode_optional_path(vocabulary, "vocabulary"),
                "truncate": truncate,
                "phrases": encode_optional(phrases, "phrases"),
            },
        )
        _set_milestones(options, milestones)
        handle = c_void_p()
        with use(model, Model) as clip, use(dataset, Dataset) as samples:
            with use_optional(texts, TextCache) as cache, use_optional(
                initial, Adapters
            ) as first, prompt_file(prompts) as set_of_prompts:
                options.initial, options.prompts = first, set_of_prompts
                lib.trainer_new(byref(handle), clip, samples, cache, byref(options))
        needs = [need for need in (model, dataset, texts) if need is not None]
        self._adopt(handle, *needs, keep=(trampoline,), has_threads=True)  # for reading ahead
        self._listener = listener
        self._model = model

    def _not_in_callback(self) -> None:
        if self._listener.active:
            raise RuntimeError(
                "a training callback cannot train, evaluate or load: it may save, or stop"
            )

    def _run(self, function: Callable[..., object]) -> Losses:
        self._not_in_callback()
        own = s.sized(s.Losses)
        with self._use_alone() as pointer:
            self._listener.run(function, pointer, byref(own))
        return Losses._read(own)

    def step(self) -> Losses:
        """One optimizer step."""
        return self._run(lib.trainer_step)

    def epoch(self) -> Losses:
        """Steps to the end of the current epoch; returns the averages over these steps."""
        return self._run(lib.trainer_epoch)

    def train(self, epochs: int) -> Iterator[Losses]:
        """
        An iterator, which trains only as it is asked: `train(5)` alone does nothing; use it in a
        `for` loop, or call `fit`. Epoch after epoch until `epochs` are finished, including those
        before a `load`: `for losses in trainer.train(5): trainer.save("text_adapter.pth")`.
        """
        while self.progress.finished_epochs < epochs:
            yield self.epoch()

    def fit(self, epochs: int) -> list[Losses]:
        """Trains until `epochs` are finished; the losses of the epochs that it trained."""
        return list(self.train(epochs))

    def evaluate(self, dataset: Dataset) -> Losses:
        """Losses on a data set, without augmentation or training."""
        self._not_in_callback()
        own = s.sized(s.Losses)
        with self._use_alone() as pointer, use(dataset, Dataset) as samples:
            lib.trainer_evaluate(pointer, samples, byref(own))
        return Losses._read(own)

    @property
    def progress(self) -> TrainingProgress:
        """Where training stands, without losses and speed."""
        own = s.sized(s.TrainingProgress)
        with self._use_alone() as pointer:
            lib.trainer_get_progress(pointer, byref(own))
        return TrainingProgress._read(own)

    @property
    def callback(self) -> Optional[Callback]:
        """Called after every optimizer step; may be set at any time."""
        return self._listener.function

    @callback.setter
    def callback(self, function: Optional[Callback]) -> None:
        self._listener.function = function

    def adapters(self) -> Adapters:
        """A copy of the adapters as they are now."""
        handle = c_void_p()
        with self._use_alone() as pointer:
            lib.trainer_adapters(byref(handle), pointer)
        return Adapters._of_pointer(handle, self._model)

    def save(self, path: Path) -> None:
        """
        Writes adapters, optimizer and position, whole or not at all: in PyTorch's format when the
        name ends in .pth or .pt, else as safetensors.
        """
        with self._use_alone() as pointer:
            lib.trainer_save(pointer, encode_path(path))

    def load(self, path: Path) -> None:
        """Continues from a saved state with the same bits as if training had not stopped."""
        self._not_in_callback()
        with self._use_alone() as pointer:
            lib.trainer_load(pointer, encode_path(path))

    def __repr__(self) -> str:
        if self.closed:
            return "<aaclip.Trainer, closed>"
        at = self.progress
        return f"<aaclip.Trainer of {at.stage.name.lower()} adapters, {at.step} steps done>"


def _set_milestones(options: s.TrainerOptions, milestones: Optional[Sequence[int]]) -> None:
    if milestones is None:
        return
    if len(milestones) > s.MAX_MILESTONES:
        raise ValueError(f"milestones: expected at most {s.MAX_MILESTONES}, found {milestones!r}")
    options.milestone_count = len(milestones)
    steps = [unsigned(step, 64, "milestones") for step in milestones]
    options.milestones[:] = [*steps, *[0] * (s.MAX_MILESTONES - len(steps))]
