"""Checks of part 5: right answers pass, and each likely mistake has its hint."""

import math

import numpy as np
import pytest
import torch

REAL = [(1.0 + 0.01 * (-1) ** seed, 0.5 - 0.02 * (-1) ** seed) for seed in range(10)]
EQUAL_SEEN = {"share": 1, "seen alone": 0.104, "seen together": 0.106}
EQUAL_SEEN |= {"ratio alone": 0.25, "ratio together": 0.52}
COUNTS = (2, 4, 8, 16)
PEAKS = {
    "plain": dict(zip(COUNTS, (748552, 900648, 1162792, 1731592), strict=True)),
    "one head": dict(zip(COUNTS, (722744, 722744, 741304, 792344), strict=True)),
    "both": dict(zip(COUNTS, (647904, 652544, 671104, 717504), strict=True)),
}
FIRST_STEPS = {
    "one head": dict(zip(COUNTS, (722744, 725968, 781680, 920944), strict=True)),
    "both": dict(zip(COUNTS, (712032, 725968, 781680, 789872), strict=True)),
}
ONLY_CHECKPOINTED = dict(zip(COUNTS, (582248, 586888, 605448, 777016), strict=True))
TUNED = {
    "proportional": [41.0, 33.5, 30.3, 30.0],
    "T = 5": [32.8, 26.0, 22.7, 21.9],
    "equal shares": [33.2, 25.9, 23.4, 22.3],
    "re-weighted": [42.4, 38.7, 38.8, 42.3],
    "bodies alone": [16.7, 17.0, 18.3, 19.0],
    "bodies alone, half": [19.1, 17.2, 16.6, 17.0],
    "proportional, 3×": [28.1, 21.2, 18.8, 18.3],
    "equal shares, 3×": [21.4, 18.5, 17.9, 17.1],
    "re-weighted, T = 2": [34.7, 27.3, 25.4, 26.1],
}
SHARES = {"50 people": 0.42, "first": 0.43, "middle": 0.43, "invented": 0.96}


def rounded(weight, bits, largest=None, dim=1, cut=torch.round):
    scale = weight.abs().amax(dim, keepdim=True) / (largest or 2 ** (bits - 1) - 1)
    return cut(weight / scale) * scale


def rounded_in_place(weight, bits):
    return weight.copy_(rounded(weight, bits))


def proportional_to(weigh):
    return lambda q, S: weigh(q, S) / weigh(q, S).sum()


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """Makes a file with so many weights that draws images of the given channels."""
    onnx = pytest.importorskip("onnx")
    export = pytest.importorskip("mtl_lib.export")

    def make(name, numbers=85_932, **channels):
        images = ", ".join(f"float[n, {c}, 24, 24] {task}" for task, c in channels.items())
        shapes = "".join(f", int64[4] {t}_shape = {{1, {c}, 24, 24}}" for t, c in channels.items())
        drawing = "".join(f"{task} = Expand(one, {task}_shape)\n" for task in channels)
        model = onnx.parser.parse_model(f"""<ir_version: 9, opset_import: ["": 18]>
            network (float[n, 15] x) => ({images})
            <int64[1] numbers = {{1}}, int64[2] places = {{2, 3}}{shapes}>
            {{
                maps = Unsqueeze(x, places)
                one = ReduceSum(maps, numbers)
                {drawing}
            }}""")
        weight = onnx.numpy_helper.from_array(np.zeros(numbers, dtype=np.float32), "weight")
        model.graph.initializer.append(weight)
        path = tmp_path_factory.mktemp("onnx") / name
        onnx.save(model, path)
        return export.OnnxModel(path)

    return make


RIGHT = [
    ("overfit-null", REAL),
    ("overfit-null", torch.tensor(REAL)),
    ("overfit-body", {"face": 0.034, "body": 0.23}),
    ("overfit-body", {"face": torch.tensor(0.036), "body": torch.tensor(0.25)}),
    ("overfit-steps", EQUAL_SEEN),
    ("cost-limit", {"16 tasks": 378 / 78, "limit": 23 / 3}),
    ("cost-limit", {"16 tasks": 4.85, "limit": 7.67}),
    ("cost-split", {"price": 1.49, "saving": 0.39}),
    ("cost-heads", PEAKS),
    ("imbalance-shares", {"T": 4.2, "K": 120}),
    ("imbalance-best-shares", proportional_to(lambda q, S: q * np.sqrt(S))),
    ("imbalance-tuning", TUNED),
    ("edge-bits", rounded),
    ("edge-calibration", SHARES),
]

WRONG = [
    ("overfit-null", REAL[:9], "ten pairs"),
    ("overfit-null", [REAL[0]] * 10, "the same"),
    ("overfit-null", [(b, 2 * a - 1) for a, b in REAL], "change places"),
    ("overfit-null", [(0.7 * a, 0.7) for a, _ in REAL], "contain another"),
    ("overfit-null", [(1 + a / 10, b) for a, b in REAL], "on average"),
    ("overfit-body", {"face": 0.15, "body": 0.34}, "other side"),
    ("overfit-body", {"face": 0.118, "body": 0.114}, "flip"),
    ("overfit-body", {"face": 3.4, "body": 23}, "per cent"),
    ("overfit-body", {"face": 0.0011, "body": 0.0075}, "two different people"),
    ("overfit-body", {"face": 0.034}, "'body'"),
    ("overfit-steps", EQUAL_SEEN | {"share": 300}, "over those of"),
    ("overfit-steps", EQUAL_SEEN | {"ratio alone": 25}, "0 for copies"),
    ("overfit-steps", EQUAL_SEEN | {"seen together": 0.13}, "more steps"),
    ("overfit-steps", EQUAL_SEEN | {"seen together": 0.08}, "fewer steps"),
    ("overfit-steps", EQUAL_SEEN | {"seen together": math.nan}, "finite"),
    ("cost-limit", {"16 tasks": 528 / 78, "limit": 23 / 3}, "forward once"),
    ("cost-limit", {"16 tasks": 368 / 78, "limit": 23 / 3}, "missing"),
    ("cost-limit", {"16 tasks": 378 / 528, "limit": 23 / 3}, "hard sharing"),
    ("cost-limit", {"16 tasks": 16, "limit": 23 / 3}, "16 tasks: put"),
    ("cost-limit", {"16 tasks": 4.85, "limit": 20 / 3}, "numerator"),
    ("cost-limit", {"16 tasks": 4.85, "limit": math.inf}, "finite"),
    ("cost-limit", {"16 tasks": 4.85, "limit": 10}, "Limit: of the sums"),
    ("cost-split", {"price": 3.06, "saving": 0.74}, "as it is"),
    ("cost-split", {"price": 1.84, "saving": 0.54}, "kept its own"),
    ("cost-split", {"price": 1.49, "saving": 0.61}, "1 minus"),
    ("cost-split", {"price": 1.2, "saving": 0.39}, "The price"),
    ("cost-split", {"price": 1.49, "saving": 0.2}, "The saving"),
    ("cost-heads", PEAKS | {"plain": PEAKS["one head"]}, "change places"),
    ("cost-heads", PEAKS | FIRST_STEPS, "Run each step once"),
    ("cost-heads", PEAKS | {"both": PEAKS["plain"]}, "checkpointed"),
    ("cost-heads", PEAKS | {"both": ONLY_CHECKPOINTED}, "alive at once"),
    ("cost-heads", PEAKS | {"both": {2: 1}}, "keys 2, 4, 8, 16"),
    ("cost-heads", {"both": PEAKS["both"]}, "'plain'"),
    ("imbalance-shares", {"T": 3.32, "K": 120}, "each body"),
    ("imbalance-shares", {"T": 4.19, "K": 160}, "each body"),
    ("imbalance-shares", {"T": 0.2386, "K": 120}, "one over"),
    ("imbalance-shares", {"T": 2, "K": 120}, "logarithms"),
    ("imbalance-shares", {"T": 4.19, "K": 1000}, "only the larger"),
    ("imbalance-best-shares", lambda q, S: q * np.sqrt(S), "sum to 1"),
    ("imbalance-best-shares", lambda q, S: q, "the same S"),
    ("imbalance-best-shares", proportional_to(lambda q, S: q * S), "which power"),
    ("imbalance-best-shares", proportional_to(lambda q, S: q**2 * S), "count once"),
    ("imbalance-best-shares", proportional_to(lambda q, S: np.sqrt(S)), "come in as well"),
    ("imbalance-best-shares", proportional_to(lambda q, S: q / np.sqrt(S)), "Upside down"),
    ("imbalance-best-shares", proportional_to(lambda q, S: 0 * q + 1), "Minimise"),
    ("imbalance-best-shares", lambda q, S: np.outer(q, S), "For 2 tasks"),
    ("imbalance-tuning", {"proportional": [1, 2, 3, 4]}, "keys of `contenders`"),
    ("imbalance-tuning", TUNED | {"T = 5": [22.0]}, "'T = 5'"),
    ("imbalance-tuning", TUNED | {"T = 5": [22.0, 23.0, 24.0, math.nan]}, "'T = 5'"),
    ("imbalance-tuning", {name: [e / 1000 for e in row] for name, row in TUNED.items()}, "1000"),
    ("imbalance-tuning", TUNED | {"bodies alone": [104.0] * 4}, "bodies alone is"),
    ("imbalance-tuning", TUNED | {"proportional, 3×": [50.0] * 4}, "its name"),
    ("edge-bits", lambda w, bits: (rounded(w, bits), 1.0), "two things"),
    ("edge-bits", lambda w, bits: rounded(w, bits, dim=0), "A row"),
    ("edge-bits", lambda w, bits: rounded(w, bits, dim=(0, 1)), "One scale for all"),
    ("edge-bits", lambda w, bits: rounded(w, bits, 2**bits - 1), "below 0"),
    ("edge-bits", lambda w, bits: rounded(w, bits, 2 ** (bits - 1)), "off by one"),
    ("edge-bits", lambda w, bits: rounded(w, bits, cut=torch.trunc), "towards 0"),
    ("edge-bits", lambda w, bits: rounded(w, bits, cut=torch.floor), "not down"),
    (
        "edge-bits",
        lambda w, bits: rounded(w / w.abs().amax(1, keepdim=True), bits) * (2 ** (bits - 1) - 1),
        "integers: multiply",
    ),
    ("edge-bits", lambda w, bits: rounded(w, 8), "With 5 bits"),
    ("edge-bits", rounded_in_place, "new tensor"),
    ("edge-calibration", SHARES | {"first": 0}, "above 0"),
    ("edge-calibration", dict.fromkeys(SHARES, 0.42), "the same"),
    ("edge-calibration", SHARES | {"invented": 0.41}, "do worst"),
    ("edge-calibration", SHARES | {"middle": 0.7}, "nearly enough"),
]

FILES = [
    ({"face": 3, "body": 3}, "2 pictures"),
    ({"depth": 1}, "(1, 24, 24)"),
    ({"face": 3, "numbers": 22_000}, "have more"),
    ({"face": 3, "numbers": 88_832}, "does not need"),
]


@pytest.mark.parametrize(("label", "answer"), RIGHT)
def test_right_answers_pass(said, label, answer):
    assert said(label, answer) == f"{label}: right."


@pytest.mark.parametrize(("label", "answer", "word"), WRONG)
def test_a_mistake_gets_its_hint(said, label, answer, word):
    found = said(label, answer)
    assert found.startswith(f"{label}: not yet.")
    assert word in found


def test_a_file_of_one_portrait_with_its_weights_passes(said, file):
    assert said("edge-one-head", file("right", face=3)) == "edge-one-head: right."


@pytest.mark.parametrize(("made", "word"), FILES)
def test_a_wrong_file_gets_its_hint(said, file, made, word):
    assert word in said("edge-one-head", file("wrong", **made))


@pytest.mark.parametrize("label", [*dict(RIGHT), "edge-one-head"])
@pytest.mark.parametrize("answer", [None, "x", 3])
def test_an_answer_of_another_type_gets_a_hint(said, label, answer):
    assert said(label, answer).startswith(f"{label}: not yet.")
