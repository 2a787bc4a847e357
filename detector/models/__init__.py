"""The models that learn what is ordinary. A model is a file here and a line in this table."""

from functools import partial
from typing import Final

from gpuwarden.detector.models.deviation import Deviation
from gpuwarden.detector.models.gpu_features import GPU
from gpuwarden.detector.models.host_features import HOST
from gpuwarden.detector.models.model import ModelLine
from gpuwarden.proto.catalogue import Device

MODELS: Final[tuple[ModelLine, ...]] = (
    ModelLine(Device.GPU, partial(Deviation, GPU)),
    ModelLine(Device.HOST, partial(Deviation, HOST)),
)
