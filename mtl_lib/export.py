"""From PyTorch to a file that runs without it: ONNX, eight-bit integers, size and latency.

Needs the optional packages: ``pip install "mtl_lib[export]"``.
"""

import copy
import logging
import random
import tempfile
import textwrap
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

_MISSING = [name for name in ("onnx", "onnxruntime", "onnxscript") if find_spec(name) is None]
if _MISSING:
    raise ImportError(
        f"mtl_lib.export needs {', '.join(_MISSING)}, which this environment lacks: "
        'pip install "mtl_lib[export]".'
    )

import onnx  # noqa: E402
import onnxruntime  # type: ignore[import-untyped] # noqa: E402
from onnxruntime import quantization  # noqa: E402

__all__ = ["ExportError", "Latency", "OnnxModel", "latency", "quantize", "to_onnx"]

# What holds nearly all of a network's weights; all else stays in floating point.
_QUANTIZED = ["Conv", "ConvTranspose", "Gemm", "MatMul"]

_OUT = "_out"  # what an output is called that has the name of an input, see `OnnxModel`


class ExportError(RuntimeError):
    """A model cannot be exported, or the exported one computes something else."""


class OnnxModel:
    """An ONNX file that is ready to run on the processor, tensors in and tensors out.

    A name in a file has one meaning only. An output ``face`` of a model that has an input ``face``
    is called ``face_out`` in the file; here it keeps its name.

    Args:
        path: of the file.
        threads: that a call may use.

    Raises:
        FileNotFoundError: no such file.
        ExportError: not an ONNX file, or one that this ONNX Runtime cannot run.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "linear.onnx")
        >>> model = to_onnx(nn.Linear(3, 2), torch.zeros(1, 3), file)
        >>> model
        <OnnxModel linear.onnx: x -> y>
        >>> model(torch.zeros(5, 3))["y"].shape
        torch.Size([5, 2])
    """

    def __init__(self, path: str | Path, *, threads: int = 1) -> None:
        self.path = _existing(path)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        options.log_severity_level = 3  # errors
        try:
            self._session = onnxruntime.InferenceSession(
                str(self.path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime has a class for each cause, and no common one
            raise ExportError(
                f"{self.path} cannot be run: {_one_line(error)} Export it again."
            ) from error
        self.inputs: tuple[str, ...] = tuple(i.name for i in self._session.get_inputs())
        self.outputs: tuple[str, ...] = tuple(
            _without_suffix(o.name, self.inputs) for o in self._session.get_outputs()
        )

    def __repr__(self) -> str:
        names = f"{', '.join(self.inputs)} -> {', '.join(self.outputs)}"
        return f"<{type(self).__name__} {self.path.name}: {names}>"

    def __call__(self, inputs: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return ``{name: output}``; the inputs are one tensor, or one for each name.

        Raises:
            ValueError: other names than the model's.
            ExportError: other shapes or types than the model was exported for.
        """
        arrays = _arrays(_named(inputs), self.inputs)
        try:
            found = self._session.run(None, arrays)
        except Exception as error:  # as above
            shapes = {name: value.shape for name, value in arrays.items()}
            raise ExportError(
                f"{self.path.name} refuses inputs of shapes {shapes}: {_one_line(error)} "
                "Only the size of the batch may differ from the example that it was made with; "
                "if that is all, look for an `if` or a number in the model that depends on it."
            ) from error
        return {n: torch.from_numpy(v) for n, v in zip(self.outputs, found, strict=True)}

    @property
    def bytes(self) -> int:
        """Size of the file."""
        return self.path.stat().st_size


def to_onnx(
    model: nn.Module,
    inputs: Tensor | Mapping[str, Tensor],
    path: str | Path,
    *,
    tolerance: float = 1e-4,
) -> OnnxModel:
    """Write a model as an ONNX file for batches of any size, and check that it computes the same.

    The check runs both in evaluation mode, with one row of the inputs, with all, and with twice as
    many. Only a file that passed it is written. The model stays as it is.

    Args:
        model: called as ``model(tensor)``, or ``model(**tensors)`` where inputs have names. It
            returns a tensor, called ``y`` in the file, or ``{name: tensor}``.
        inputs: an example: a tensor, called ``x`` in the file, or ``{name: tensor}``. The first
            dimension is the batch. Take real data: the check is as good as what it sees.
        path: of the file, in a folder that exists.
        tolerance: largest absolute difference between two outputs, in their unit.

    Returns:
        The exported model.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: the inputs are empty, or have batches of different sizes.
        TypeError: the model's output is neither a tensor nor a dict of tensors.
        ExportError: PyTorch cannot export the model, or an output differs.

    Example:
        >>> import tempfile
        >>> from mtl_lib.networks import HardSharing
        >>> model = HardSharing(nn.Linear(3, 8), {"a": nn.Linear(8, 1), "b": nn.Linear(8, 2)})
        >>> file = Path(tempfile.mkdtemp(), "model.onnx")
        >>> to_onnx(model, torch.rand(4, 3), file).outputs
        ('a', 'b')
    """
    target = _in_a_folder(path)
    example = {name: value.detach().cpu() for name, value in _named(inputs).items()}
    sizes = {name: len(value) if value.ndim else 0 for name, value in example.items()}
    if len(set(sizes.values())) != 1 or 0 in sizes.values():
        raise ValueError(f"inputs have batches of {sizes}, wanted the same size for all, above 0.")
    flat = _Flat(copy.deepcopy(model).cpu(), isinstance(inputs, Tensor), tuple(example)).eval()
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        fresh = Path(folder, target.name)
        outputs = _write(flat, example, fresh)
        _refuse_difference(flat, OnnxModel(fresh), outputs, example, tolerance)
        fresh.replace(target)
    return OnnxModel(target)


class _Flat(nn.Module):
    """Tensors in, tensors out, without names: what the exporter understands best."""

    def __init__(self, model: nn.Module, positional: bool, names: tuple[str, ...]) -> None:
        super().__init__()
        self.model, self.positional, self.names = model, positional, names

    def named(self, *tensors: Tensor) -> dict[str, Tensor]:
        """``{name: output}``, checked."""
        given = dict(zip(self.names, tensors, strict=True))
        found = self.model(*tensors) if self.positional else self.model(**given)
        found = {"y": found} if isinstance(found, Tensor) else found
        if not isinstance(found, Mapping) or not all(isinstance(v, Tensor) for v in found.values()):
            raise TypeError(
                f"the model returned {type(found).__name__}, wanted a tensor or a dict of tensors: "
                "wrap the model in one that names its outputs."
            )
        return dict(found)

    def forward(self, *tensors: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.named(*tensors).values())


def _write(flat: _Flat, example: Mapping[str, Tensor], path: Path) -> list[str]:
    """Write the file and return the names of its outputs."""
    # PyTorch takes a dimension of one for a constant.
    tensors = tuple(torch.cat([value, value]) for value in example.values())
    batch = torch.export.Dim("batch")
    with torch.no_grad():
        outputs = list(flat.named(*tensors))
        try:
            with _quiet():
                torch.onnx.export(
                    flat,
                    tensors,
                    path,
                    input_names=list(example),
                    output_names=[name + _OUT * (name in example) for name in outputs],
                    dynamic_shapes=(tuple({0: batch} for _ in tensors),),
                    external_data=False,
                    dynamo=True,
                    verbose=False,
                )
        except Exception as error:  # PyTorch has many classes for what it cannot export
            raise ExportError(
                f"PyTorch cannot export the model: {_one_line(error.__cause__ or error)} "
                "Look for a batch size written as a number, or an `if` that depends on data."
            ) from error
    _strip(path)
    return outputs


def _strip(path: Path) -> None:
    """Leave out where in the source each operation came from: a tenth of a small file."""
    file = onnx.load(path)
    for node in [file, file.graph, *file.graph.node, *file.graph.input, *file.graph.output]:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    del file.graph.value_info[:]
    onnx.save(file, path)


def _refuse_difference(
    flat: _Flat,
    exported: OnnxModel,
    outputs: list[str],
    example: Mapping[str, Tensor],
    tolerance: float,
) -> None:
    for rows in (lambda t: t[:1], lambda t: t, lambda t: torch.cat([t, t])):
        part = {name: rows(value) for name, value in example.items()}
        with torch.no_grad():
            wanted = flat.named(*part.values())
        seen = exported(part)
        for name in outputs:
            if seen[name].shape != wanted[name].shape:
                raise ExportError(
                    f"output {name!r} has shape {tuple(seen[name].shape)} after the export, "
                    f"{tuple(wanted[name].shape)} before: look for a batch size that is fixed."
                )
            difference = (seen[name].double() - wanted[name].double()).abs().max().item()
            if not difference <= tolerance:  # also where it is not a number
                raise ExportError(
                    f"output {name!r} differs by {difference:.2g} after the export, wanted at most "
                    f"{tolerance:g}: look for randomness in the model, or raise the tolerance."
                )


def quantize(
    model: OnnxModel,
    path: str | Path,
    calibration: Iterable[Tensor | Mapping[str, Tensor]] | None = None,
) -> OnnxModel:
    """Store the weights of linear and convolutional layers as eight-bit integers.

    A number r is stored as q = round(r / s) + z, in eight bits, with a scale s and a zero point z
    (B. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, eq. 1 is its inverse). Weights have a scale for
    each output channel and z = 0.

    With calibration data the inputs and outputs of these layers become integers as well, with
    scales that are chosen once, from the smallest and largest value seen: *static* quantisation,
    the one for convolutions. Without, matrix products choose the scales of their inputs at every
    call, *dynamic* quantisation, and convolutions are left alone.

    Args:
        model: what `to_onnx` returned.
        path: of the new file, in a folder that exists.
        calibration: batches of inputs as the model will see them.

    Returns:
        The quantised model.

    Raises:
        FileNotFoundError: the folder does not exist.
        ValueError: calibration is empty, or its names are not those of the model's inputs.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> model = to_onnx(nn.Linear(64, 256), torch.rand(4, 64), folder / "float.onnx")
        >>> small = quantize(model, folder / "int8.onnx", [torch.rand(100, 64)])
        >>> model.bytes / small.bytes > 2
        True
    """
    target = _in_a_folder(path)
    with _quiet(), tempfile.TemporaryDirectory(dir=target.parent) as folder:
        prepared, fresh = Path(folder, "prepared.onnx"), Path(folder, target.name)
        quantization.shape_inference.quant_pre_process(
            str(model.path), str(prepared), skip_symbolic_shape=True
        )
        if calibration is None:
            quantization.quantize_dynamic(
                prepared, fresh, op_types_to_quantize=["Gemm", "MatMul"], per_channel=True
            )
        else:
            quantization.quantize_static(
                prepared,
                fresh,
                _Reader(calibration, model.inputs),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=_QUANTIZED,
                per_channel=True,
                # Unsigned times signed is what processors have an instruction for.
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
        fresh.replace(target)
    return OnnxModel(target)


class _Reader(quantization.CalibrationDataReader):  # type: ignore[misc]
    """Calibration batches in the form that ONNX Runtime asks for."""

    def __init__(
        self, batches: Iterable[Tensor | Mapping[str, Tensor]], names: tuple[str, ...]
    ) -> None:
        self.batches = [_arrays(_named(batch), names) for batch in batches]
        if not self.batches:
            raise ValueError(
                "calibration is empty, wanted at least one batch of inputs: "
                "pass some training data, or leave it out for dynamic quantisation."
            )
        self.rest = iter(self.batches)

    def get_next(self) -> dict[str, np.ndarray] | None:
        return next(self.rest, None)


@dataclass(frozen=True)
class Latency:
    """How long a call takes.

    Args:
        milliseconds: of each round.
    """

    milliseconds: tuple[float, ...]

    def __repr__(self) -> str:
        return f"<Latency p50 {self.p50:.3g} ms, p95 {self.p95:.3g} ms>"

    @property
    def p50(self) -> float:
        """The median, in milliseconds."""
        return float(np.percentile(self.milliseconds, 50))

    @property
    def p95(self) -> float:
        """What 19 of 20 calls stay below, in milliseconds."""
        return float(np.percentile(self.milliseconds, 95))


def latency(
    calls: Mapping[str, Callable[[], object]], *, rounds: int = 100, warmup: int = 10
) -> dict[str, Latency]:
    """Time several calls against each other on the same machine at the same moment.

    Every round makes each call once, so that a machine that slows down for a while slows all of
    them, and in an order drawn anew, so that none always follows the same other one and finds what
    that left in the processor's caches. Set the number of threads yourself:
    `mtl_lib.training.repeatable`, and ``threads`` of `OnnxModel`.

    Args:
        calls: ``{name: function without arguments}``.
        rounds: that count.
        warmup: rounds before that, which do not.

    Returns:
        ``{name: latency}``, in milliseconds.

    Raises:
        ValueError: fewer than one round, or a warm-up below 0.

    Example:
        >>> found = latency({"short": lambda: sum(range(10)), "long": lambda: sum(range(99999))})
        >>> found["short"].p50 < found["long"].p50
        True
    """
    if rounds < 1 or warmup < 0:
        raise ValueError(
            f"rounds is {rounds} and warmup {warmup}, wanted at least one round and no warm-up "
            "below 0."
        )
    seen: dict[str, list[float]] = {name: [] for name in calls}
    orders = random.Random(0)  # of its own: the caller's random numbers stay as they are
    for _ in range(warmup + rounds):
        for name in orders.sample(list(calls), len(calls)):
            start = time.perf_counter()
            calls[name]()
            seen[name].append(1000 * (time.perf_counter() - start))
    return {name: Latency(tuple(values[warmup:])) for name, values in seen.items()}


def _named(inputs: Tensor | Mapping[str, Tensor]) -> dict[str, Tensor]:
    """``{name: tensor}``, where a lone tensor is called x."""
    named = {"x": inputs} if isinstance(inputs, Tensor) else inputs
    if not isinstance(named, Mapping) or not named:
        raise ValueError(f"inputs are {named!r}, wanted a tensor or a dict of tensors.")
    return dict(named)


def _arrays(tensors: Mapping[str, Tensor], names: tuple[str, ...]) -> dict[str, np.ndarray]:
    if tensors.keys() != set(names):
        raise ValueError(
            f"inputs are called {', '.join(tensors)}, wanted {', '.join(names)}: "
            "name them as in the call of to_onnx."
        )
    return {name: value.detach().cpu().numpy() for name, value in tensors.items()}


def _without_suffix(output: str, inputs: tuple[str, ...]) -> str:
    stem = output.removesuffix(_OUT)
    return stem if stem in inputs else output


def _in_a_folder(path: str | Path) -> Path:
    folder = Path(path).parent
    if not folder.is_dir():
        raise FileNotFoundError(
            f"path is {path}, wanted a file in a folder that exists: make {folder} first."
        )
    return Path(path)


def _existing(path: str | Path) -> Path:
    if not Path(path).is_file():
        raise FileNotFoundError(f"path is {path}, wanted an ONNX file: write it with to_onnx.")
    return Path(path)


def _one_line(error: BaseException) -> str:
    line = " ".join(str(error).split()) or repr(error)
    return textwrap.shorten(line, 300, placeholder=" ...").rstrip(".") + "."


@contextmanager
def _quiet() -> Iterator[None]:
    """No warnings from the exporter's own insides; errors stay."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
