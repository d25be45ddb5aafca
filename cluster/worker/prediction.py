"""Fill holes or find inpainted regions in image files with the network of a finished trial."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from cluster.worker import finished_trial, inputs
from sweeps.errors import SweepError
from sweeps.store.base import Store
from trainables.detect import calibration
from trainables.errors import TrialError
from trainables.inference import predict, user_images
from trainables.inference.authentic import AuthenticPhotographs, check_count, check_other, digests, measure, pictures
from trainables.training.session import available_device

if TYPE_CHECKING:
    from torch import nn

    from cluster.worker.finished_trial import FinishedTrial
    from trainables.inference.filling import Filled
    from trainables.inference.python_images import ImageLike

CacheKey = tuple[str, str, str, int]
"""Store, trial, attempt and epochs of a network: a longer training of the same trial gets a new key."""


@dataclass(frozen=True)
class Prediction:
    """The output of a network for one image file."""

    image: Path
    name: str
    """Start of the names of the output files: that of the image, numbered if several images have the same name."""
    files: Mapping[str, bytes] = field(default_factory=dict)
    """Content of the output files by the suffix that is added to `name`."""
    summary: str = ""
    """Verdict of a detector in one line; empty for an inpainter."""
    note: str = ""
    """What limits the result, in one line: how coarse a fill is, or few validation images; else empty."""
    score: float | None = None
    """Of a detector: the probability that the image was inpainted."""
    score_map: Callable[[], bytes | None] = lambda: None
    """Draws the probability of each pixel as `predict.score_map` does; gives None without a mask head."""
    error: TrialError | None = None
    """Why the image could not be processed."""


class TrainedNetwork:
    """A finished trial and its network, which is built when it is first used."""

    def __init__(self, trial: FinishedTrial, store: Store) -> None:
        self.trial = trial
        self._store = store

    @cached_property
    def network(self) -> nn.Module:
        """The network on the GPU if there is one."""
        build = predict.inpainter if self.trial.task == "inpaint" else predict.detector
        return build(self.trial.config, self.trial.weights, available_device())

    def check_request(self, has_mask: bool, text: str | None, example: str, option: str) -> None:
        """SweepError if the trial does not predict, or gets a mask where it needs none, or none where it needs one.

        option: how the mask is given, with an example.
        """
        task = self.trial.task
        if task not in ("inpaint", "detect"):
            raise SweepError(
                f"trial {self.trial.trial_id}",
                f"its task is {task}",
                "inpaint or detect",
                "sweeps status NAME lists the trials",
            )
        if has_mask != (task == "inpaint"):
            raise SweepError(
                f"trial {self.trial.trial_id} of task {task}",
                "a detector finds the inpainted region itself" if has_mask else "an inpainter needs a hole to fill",
                f"{option} for inpainters, no {option} for detectors",
                f"leave {option} out" if has_mask else example,
            )
        if text is not None:
            predict.check_text(self.trial.config)

    def fill(
        self, picture: user_images.Picture, hole_hw: user_images.Mask, text: str | None, resize: bool = False
    ) -> Filled:
        """The stored image with its hole filled. hole_hw: upright. resize: see `predict.fill`."""
        return predict.fill(self.network, self.trial.config, picture, hole_hw, text, resize)

    def detect(
        self,
        picture: user_images.Picture,
        rate: float = calibration.RATE,
        resize: bool = False,
        authentic: AuthenticPhotographs | None = None,
    ) -> predict.Detection:
        """What a detector finds, at the threshold for this false positive rate. resize: see `predict.detect`.

        authentic: photographs that determine the threshold, measured with the same `resize`; None: the trial's
        validation images. TrialError if the picture is one of them.
        """
        threshold = partial(self.threshold, rate)
        if authentic is not None:
            calibration.checked_rate(rate)
            calibration.rank_at(len(authentic), rate)
            authentic.check_fits(picture, resize, self.trial.trial_id)
            threshold = partial(authentic.threshold, rate)
        return predict.detect(self.network, self.trial.config, threshold, picture, resize)

    def measure(
        self,
        photographs: str | Path | Sequence[ImageLike],
        resize: bool = False,
        seen: frozenset[str] | None = None,
    ) -> AuthenticPhotographs:
        """What a detector says of authentic photographs. resize: as in `detect`. seen: as in `authentic.measure`.

        Raises TrialError, before the first is scanned, for one that cannot be used or is given twice.
        """
        return measure(self.network, self.trial.config, photographs, resize, self.trial.trial_id, seen=seen)

    def threshold(self, rate: float, windows: int = 1) -> calibration.Threshold:
        """The threshold of a detector for photographs of so many windows, at a false positive rate on validation."""
        calibration.checked_rate(rate)
        if self._validation is None:
            return calibration.without_outputs(self.trial.last("val/threshold"))
        return self._validation.threshold(rate, windows)

    @cached_property
    def _validation(self) -> calibration.Validation | None:
        """The validation images that are not inpainted. None if the trial stored no outputs."""
        try:
            file = inputs.outputs_file(self._store, self.trial.trial_id)
        except SweepError:
            return None
        return calibration.validation(file.read_bytes(), f"outputs of trial {self.trial.trial_id}")


class NetworkCache:
    """The trained networks that were used last."""

    def __init__(self, size: int = 0) -> None:
        self.size = size
        """Number of networks that stay in memory."""
        self._networks: dict[CacheKey, TrainedNetwork] = {}

    def get(self, key: CacheKey) -> TrainedNetwork | None:
        return self._networks.get(key)

    def put(self, key: CacheKey, network: TrainedNetwork) -> None:
        """Store the network as the one used last, and drop those that were used the longest time ago."""
        self._networks.pop(key, None)
        self._networks[key] = network
        while len(self._networks) > self.size:
            self._networks.pop(next(iter(self._networks)))


NETWORKS = NetworkCache()
"""Empty unless a process that predicts repeatedly raises its size."""


def predictions(
    store: Store,
    trial_id: str,
    images: Sequence[Path],
    mask: str | None,
    text: str | None,
    resize: bool = False,
    rate: float = calibration.RATE,
    authentic: Path | None = None,
) -> Iterator[Prediction]:
    """Check the request, load the network and read the authentic photographs, then predict image after image.

    resize: process a copy of the whole image that is resized to the network's square.
    rate: false positive rate of a detector on authentic images, which determines its threshold.
    authentic: a folder of authentic photographs that determine the threshold; None: the trial's validation images.

    SweepError and TrialError if the trial cannot be used in this way; an image that cannot be used is a prediction with
    its error.
    """
    result = finished_trial.newest_result(store, trial_id, "needed for the prediction")
    key = (store.uri, trial_id, str(result.get("attempt")), int(result["epochs"]))
    loaded = NETWORKS.get(key) or TrainedNetwork(
        finished_trial.read(store, trial_id, "needed for the prediction"), store
    )
    loaded.check_request(mask is not None, text, "--mask 10,10,40,30, or --mask FILE", "--mask")
    calibration.checked_rate(rate)
    if authentic is not None and mask is not None:
        raise TrialError(
            f"--authentic {authentic}", "an inpainter has no threshold", "--authentic for detectors", "leave it out"
        )
    _ = loaded.network  # load it now, so that a trial without usable weights is an error before the first image
    NETWORKS.put(key, loaded)
    known = None if authentic is None else AuthenticToScan(loaded, authentic, rate, resize)
    names = predict.output_names(list(images))
    given = zip(images, names, strict=True)
    return (_prediction(loaded, file, name, mask, text, resize, rate, known) for file, name in given)


class AuthenticToScan:
    """Authentic photographs, which are read at once, and scanned for the first image that needs them.

    So no error about them, or about the only image, comes after the scan of many photographs. photographs: a folder, or
    a list of images. Raises TrialError if one cannot be used or is given twice, or if they are too few for the rate.
    """

    def __init__(
        self, loaded: TrainedNetwork, photographs: str | Path | Sequence[ImageLike], rate: float, resize: bool
    ) -> None:
        check_count(photographs, rate)
        self._loaded, self._photographs, self._resize = loaded, photographs, resize
        self._digests = digests(pictures(photographs))

    def measured_for(self, picture: user_images.Picture) -> AuthenticPhotographs:
        """What the detector says of them. TrialError if the picture in question is one of them."""
        check_other(picture, self._digests)
        return self._measured

    @cached_property
    def _measured(self) -> AuthenticPhotographs:
        return self._loaded.measure(self._photographs, self._resize, self._digests)


def _prediction(
    loaded: TrainedNetwork,
    file: Path,
    name: str,
    mask: str | None,
    text: str | None,
    resize: bool,
    rate: float,
    known: AuthenticToScan | None,
) -> Prediction:
    try:
        picture = user_images.read(file)
        if mask is not None:
            filled = loaded.fill(picture, user_images.read_hole(mask, picture), text, resize)
            note = f"{picture.file}: {filled.note}" if filled.note else ""
            return Prediction(file, name, predict.fill_files(filled, picture), note=note)
        authentic = None if known is None else known.measured_for(picture)
        finding = loaded.detect(picture, rate, resize, authentic)
    except TrialError as error:
        return Prediction(file, name, error=error)
    summary = f"{finding.label}, probability {finding.probability:.3f} (threshold {finding.threshold:.3f})"
    note = f"{picture.file}: the threshold is {finding.note}" if finding.note else ""
    return Prediction(
        file,
        name,
        predict.files(finding, picture),
        f"{picture.file}: {summary}",
        note,
        finding.probability,
        partial(predict.score_map, finding, picture),
    )
