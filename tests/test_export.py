"""A file computes what the model computes, whatever its inputs and outputs are called."""

import random
import subprocess
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn
from torch.nn import functional

from mtl_lib import export
from mtl_lib.networks import MultiTaskDecoder

INPUTS = 5


@pytest.fixture(scope="module")
def painter():
    torch.manual_seed(0)
    tasks = {"face": (3, functional.mse_loss), "depth": (1, functional.mse_loss)}
    return MultiTaskDecoder(INPUTS, tasks, size=16)


@pytest.fixture(scope="module")
def exported(painter, tmp_path_factory):
    file = tmp_path_factory.mktemp("export") / "painter.onnx"
    return export.to_onnx(painter, torch.rand(3, INPUTS), file)


@pytest.fixture(scope="module")
def quantised(exported):
    people = [torch.rand(64, INPUTS)]
    return export.quantize(exported, exported.path.with_name("int8.onnx"), people)


class TwoPeople(nn.Module):
    """An input and an output for each of two names."""

    def __init__(self):
        super().__init__()
        self.face, self.body = nn.Linear(3, 2), nn.Linear(4, 2)

    def forward(self, face, body):
        return {"likeness": (self.face(face) * self.body(body)).sum(1), "body": self.body(body)}


class Returns(nn.Module):
    """Returns what a function makes of its input."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


@pytest.mark.parametrize("people", [1, 2, 7])
def test_file_draws_what_the_model_draws_for_any_number_of_people(painter, exported, people):
    x = torch.rand(people, INPUTS)
    with torch.no_grad():
        torch.testing.assert_close(exported(x), painter(x), rtol=0, atol=1e-5)


def test_file_is_a_valid_onnx_file_with_the_names_of_the_tasks(exported):
    file = onnx.load(exported.path)
    onnx.checker.check_model(file, full_check=True)
    assert [output.name for output in file.graph.output] == ["face", "depth"]
    assert exported.inputs == ("x",)


def test_file_runs_without_this_library(painter, exported):
    x = torch.rand(2, INPUTS)
    session = onnxruntime.InferenceSession(exported.path, providers=["CPUExecutionProvider"])
    (face,) = session.run(["face"], {"x": x.numpy()})
    with torch.no_grad():
        np.testing.assert_allclose(face, painter(x)["face"].numpy(), atol=1e-5)


def test_inputs_and_outputs_keep_their_names(tmp_path):
    model = TwoPeople()
    inputs = {"face": torch.rand(4, 3), "body": torch.rand(4, 4)}
    found = export.to_onnx(model, inputs, tmp_path / "two.onnx")
    assert (found.inputs, found.outputs) == (("face", "body"), ("likeness", "body"))
    names = [output.name for output in onnx.load(found.path).graph.output]
    assert names == ["likeness", "body_out"]  # a name in a file has one meaning
    fresh = {"body": torch.rand(6, 4), "face": torch.rand(6, 3)}
    with torch.no_grad():
        torch.testing.assert_close(found(fresh), model(**fresh), rtol=0, atol=1e-5)


def test_lone_output_is_called_y_and_one_person_is_example_enough(tmp_path):
    model = nn.Linear(3, 2)
    found = export.to_onnx(model, torch.rand(1, 3), tmp_path / "linear.onnx")
    x = torch.rand(5, 3)
    torch.testing.assert_close(found(x)["y"], model(x).detach(), rtol=0, atol=1e-5)


def test_export_leaves_the_model_as_it_is_and_draws_as_in_evaluation(tmp_path):
    model = nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.5))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = export.to_onnx(model, torch.rand(4, 3), tmp_path / "model.onnx")
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    x = torch.rand(4, 3)
    torch.testing.assert_close(found(x)["y"], model.eval()(x).detach(), rtol=0, atol=1e-5)


def test_export_prints_nothing_and_warns_of_nothing(painter, tmp_path, capfd):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = export.to_onnx(painter, torch.rand(2, INPUTS), tmp_path / "painter.onnx")
        export.quantize(found, tmp_path / "int8.onnx", [torch.rand(8, INPUTS)])
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    "function",
    [lambda x: x + torch.rand_like(x), lambda x: x * float("nan")],
    ids=["random", "not a number"],
)
def test_file_that_differs_is_refused_and_not_written(tmp_path, function):
    with pytest.raises(export.ExportError, match="output 'y' differs by"):
        export.to_onnx(Returns(function), torch.rand(2, 3), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


def test_tolerance_is_that_of_the_caller(painter, tmp_path):
    with pytest.raises(export.ExportError, match="wanted at most 0"):
        export.to_onnx(painter, torch.rand(4, INPUTS), tmp_path / "model.onnx", tolerance=0)


def test_model_that_depends_on_the_size_of_the_batch_is_refused(tmp_path):
    model = Returns(lambda x: 2 * x if len(x) == 4 else x)
    with pytest.raises(export.ExportError, match="Only the size of the batch may differ"):
        export.to_onnx(model, torch.rand(2, 3), tmp_path / "model.onnx")


def test_model_that_depends_on_its_data_is_refused(tmp_path):
    model = Returns(lambda x: x if x.sum() > 0 else -x)
    with pytest.raises(export.ExportError, match="PyTorch cannot export the model"):
        export.to_onnx(model, torch.rand(2, 3), tmp_path / "model.onnx")


@pytest.mark.parametrize("output", [[1.0], (torch.zeros(2),), {"a": 3}])
def test_output_that_is_no_tensor_and_no_dict_is_refused(tmp_path, output):
    with pytest.raises(TypeError, match=f"returned {type(output).__name__}, wanted a tensor"):
        export.to_onnx(Returns(lambda x: output), torch.rand(2, 3), tmp_path / "model.onnx")


@pytest.mark.parametrize(
    "inputs",
    [torch.rand(0, 3), torch.tensor(1.0), {"a": torch.rand(2, 3), "b": torch.rand(3, 3)}],
)
def test_inputs_that_are_no_batch_are_refused(tmp_path, inputs):
    with pytest.raises(ValueError, match="wanted the same size for all, above 0"):
        export.to_onnx(nn.Linear(3, 2), inputs, tmp_path / "model.onnx")


def test_missing_folder_and_missing_file_are_named(exported, tmp_path):
    nowhere = tmp_path / "nowhere" / "model.onnx"
    with pytest.raises(FileNotFoundError, match=r"make .*nowhere first"):
        export.to_onnx(nn.Linear(3, 2), torch.rand(2, 3), nowhere)
    with pytest.raises(FileNotFoundError, match=r"make .*nowhere first"):
        export.quantize(exported, nowhere)
    with pytest.raises(FileNotFoundError, match="write it with to_onnx"):
        export.OnnxModel(nowhere)


def test_file_that_is_not_onnx_is_named(tmp_path):
    file = tmp_path / "letter.onnx"
    file.write_text("Dear reader")
    with pytest.raises(export.ExportError, match=r"letter\.onnx cannot be run"):
        export.OnnxModel(file)


def test_wrong_names_of_inputs_are_named(exported):
    with pytest.raises(ValueError, match="inputs are called face, wanted x"):
        exported({"face": torch.rand(2, INPUTS)})
    with pytest.raises(ValueError, match="wanted a tensor or a dict"):
        exported({})


def test_eight_bits_are_smaller_and_draw_nearly_the_same(painter, exported, quantised):
    assert exported.bytes / quantised.bytes > 2.5
    x = torch.rand(50, INPUTS)
    with torch.no_grad():
        wanted, seen = painter(x), quantised(x)
    for task in wanted:
        # One step of an eight-bit scale over (0, 1) is 0.004; errors of four layers add up.
        assert 0 < (wanted[task] - seen[task]).abs().max() < 0.05


def test_all_large_weights_are_integers_of_eight_bits(quantised):
    weights = [w for w in onnx.load(quantised.path).graph.initializer if np.prod(w.dims) > 2000]
    assert weights
    assert {w.data_type for w in weights} == {onnx.TensorProto.INT8}


def test_dynamic_quantisation_needs_no_data_and_leaves_convolutions(exported, tmp_path):
    found = export.quantize(exported, tmp_path / "dynamic.onnx")
    operations = {node.op_type for node in onnx.load(found.path).graph.node}
    assert {"Conv", "ConvTranspose", "MatMulInteger"} <= operations
    x = torch.rand(20, INPUTS)
    for task, wanted in exported(x).items():
        assert (wanted - found(x)[task]).abs().max() < 0.05


def test_calibration_that_says_nothing_is_refused(exported, tmp_path):
    with pytest.raises(ValueError, match="calibration is empty"):
        export.quantize(exported, tmp_path / "int8.onnx", [])
    with pytest.raises(ValueError, match="inputs are called z, wanted x"):
        export.quantize(exported, tmp_path / "int8.onnx", [{"z": torch.rand(2, INPUTS)}])
    assert list(tmp_path.iterdir()) == []


def test_every_round_makes_every_call_once_and_each_follows_each_other():
    made = []
    calls = {name: lambda name=name: made.append(name) for name in "abc"}
    found = export.latency(calls, rounds=30, warmup=2)
    assert [len(latency.milliseconds) for latency in found.values()] == [30, 30, 30]
    rounds = ["".join(made[i : i + 3]) for i in range(0, len(made), 3)]
    assert len(rounds) == 32
    assert {*rounds} == {"abc", "acb", "bac", "bca", "cab", "cba"}


def test_orders_are_drawn_without_touching_the_random_numbers_of_others():
    random.seed(3)
    wanted = random.random()
    random.seed(3)
    export.latency({"a": lambda: None, "b": lambda: None}, rounds=5)
    assert random.random() == wanted


def test_percentiles_are_those_of_the_rounds():
    latency = export.Latency(tuple(range(101)))
    assert (latency.p50, latency.p95) == (50, 95)


def test_what_takes_longer_is_measured_as_such():
    found = export.latency({"short": lambda: None, "long": lambda: sum(range(20_000))}, rounds=20)
    assert found["long"].p50 > 2 * found["short"].p50


@pytest.mark.parametrize("counts", [{"rounds": 0}, {"warmup": -1}])
def test_latency_refuses_no_rounds(counts):
    with pytest.raises(ValueError, match="wanted at least one round"):
        export.latency({"a": lambda: None}, **counts)


def test_without_the_optional_packages_the_import_names_the_cure():
    program = "import sys; sys.modules['onnxscript'] = None; import mtl_lib.export"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert run.returncode
    assert "needs onnxscript" in run.stderr
    assert 'pip install "mtl_lib[export]"' in run.stderr
