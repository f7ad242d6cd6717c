"""Makes the sample models of this repository, measures them and checks them.

    python make_models.py [--out DIR]

Everything is trained here, on the CPU, in less than a minute, from data that comes with
scikit-learn or that a seeded generator makes: nothing is downloaded. Two runs on one machine with
the packages of requirements.txt write the same bytes; another processor's arithmetic may change
the last bits of a weight.

For each model the script writes

    DIR/<model>/<version>/model.onnx    the network, batch dimension "N" first everywhere
    DIR/<model>/labels.txt              the classes of PROBS, one a line, if there are any

and, for all models together,

    DIR/report.json      sizes, signatures and metrics on data that was held out of the training
    DIR/expected.json    three requests a version and their answers, for known-answer tests

It does not write the config.pbtxt files: they are written by hand and lie beside it. With --out
they are copied, so that DIR is a whole repository. A model that fails a check (see `check`) stops
the script.
"""

import argparse
import ast
import hashlib
import json
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version as package_version
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import sklearn
from onnx import ModelProto, TensorProto, helper, numpy_helper
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, StringTensorType
from sklearn.datasets import load_digits
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, roc_auc_score
from sklearn.model_selection import GroupKFold, cross_val_score, train_test_split
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from threadpoolctl import threadpool_limits

HERE = Path(__file__).resolve().parent

# Old enough for the ONNX Runtimes of some years, new enough for what the models need.
IR_VERSION = 8
OPSETS = {"": 17, "ai.onnx.ml": 3, "com.microsoft": 1}

# Largest difference that is allowed between a model and the library that trained it: the one
# computes in single precision, the other mostly in double.
TOLERANCE = 2e-5


@dataclass(frozen=True)
class Tensor:
    """An input or output: `dims` leaves out the batch dimension, as config.pbtxt does."""

    name: str
    datatype: int
    dims: list[int]

    @property
    def value_info(self) -> onnx.ValueInfoProto:
        return helper.make_tensor_value_info(self.name, self.datatype, ["N", *self.dims])


@dataclass(frozen=True)
class Version:
    """One version of a model, with what is needed to judge it."""

    model: str
    number: int
    onnx: ModelProto
    # Held-out rows in the shape of the model's only input, batch dimension first.
    rows: np.ndarray
    # What the training library answers for such rows, by output name.
    library: Callable[[np.ndarray], dict[str, np.ndarray]]
    # Three rows for expected.json.
    samples: np.ndarray
    data: str
    held_out: dict[str, float]
    labels: list[str] = field(default_factory=list)


# Models ------------------------------------------------------------------------------------------


def digits() -> list[Version]:
    """Handwritten digits, 8x8 pixels in 0..1: random 3x3 filters, ReLU, pooling, a trained layer.

    Only the last layer is trained (logistic regression on the 768 pooled filter answers), which is
    enough for this data and keeps the file at 33 kB.
    """
    data = load_digits()
    images = (data.images / 16).astype(np.float32)[:, None]
    train, test, train_y, test_y = train_test_split(
        images, data.target, test_size=0.3, random_state=0, stratify=data.target
    )
    rng = np.random.default_rng(0)
    filters = rng.normal(0, 0.6, (48, 1, 3, 3)).astype(np.float32)
    offsets = rng.normal(0, 0.1, 48).astype(np.float32)

    def features(batch: np.ndarray) -> np.ndarray:
        """The same three layers in numpy: convolution, ReLU, 2x2 maximum."""
        padded = np.pad(batch[:, 0], ((0, 0), (1, 1), (1, 1)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
        answers = np.einsum("nyxij,fij->nfyx", windows, filters[:, 0])
        answers = np.maximum(answers + offsets[:, None, None], 0)
        return answers.reshape(-1, 48, 4, 2, 4, 2).max(axis=(3, 5)).reshape(-1, 768)

    head = LogisticRegression(C=0.05, max_iter=2000).fit(features(train), train_y)
    model = make_model(
        "digits",
        [
            helper.make_node("Conv", ["IMAGE", "filters", "offsets"], ["answers"], pads=[1] * 4),
            helper.make_node("Relu", ["answers"], ["positive"]),
            helper.make_node(
                "MaxPool", ["positive"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]
            ),
            helper.make_node("Flatten", ["pooled"], ["features"]),
            helper.make_node("Gemm", ["features", "weights", "bias"], ["logits"], transB=1),
            helper.make_node("Softmax", ["logits"], ["PROBS"], axis=1),
        ],
        Tensor("IMAGE", TensorProto.FLOAT, [1, 8, 8]),
        [Tensor("PROBS", TensorProto.FLOAT, [10])],
        {
            "filters": filters,
            "offsets": offsets,
            "weights": head.coef_.astype(np.float32),
            "bias": head.intercept_.astype(np.float32),
        },
    )
    return [
        Version(
            "digits",
            1,
            model,
            rows=test,
            library=lambda batch: {"PROBS": head.predict_proba(features(batch))},
            samples=test[:3],
            data="scikit-learn load_digits: 1797 images, 30 % held out",
            held_out={"accuracy": head.score(features(test), test_y)},
            labels=[str(digit) for digit in range(10)],
        )
    ]


FRAUD_FEATURES = [
    "amount",
    "hour",
    "new_device",
    "distance_km",
    "merchant_risk",
    "payments_last_hour",
    "account_age_days",
]


def payments(count: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Synthetic card payments: features as in FRAUD_FEATURES, whether fraud, and the true risk.

    The logarithm of the odds of fraud is linear in the features, with log(1 + amount), with night
    (before 5 o'clock) as a step, with one interaction (a new device at night) and normal noise of
    0.6 that no model can see.
    """
    rng = np.random.default_rng(seed)
    amount = rng.lognormal(3.5, 1.1, count)
    hour = rng.integers(0, 24, count)
    new_device = rng.random(count) < 0.12
    distance = rng.exponential(30, count)
    merchant_risk = rng.beta(2, 8, count)
    last_hour = rng.poisson(0.6, count)
    age = rng.exponential(400, count)
    night = hour < 5
    log_odds = (
        -7.2
        + 0.45 * np.log1p(amount)
        + 1.6 * new_device
        + 1.2 * night
        + 1.5 * (new_device & night)
        + 0.012 * distance
        + 4.0 * merchant_risk
        + 0.55 * last_hour
        - 0.001 * age
    )
    noisy = log_odds + rng.normal(0, 0.6, count)
    fraud = (rng.random(count) < 1 / (1 + np.exp(-noisy))).astype(np.int64)
    columns = [amount, hour, new_device, distance, merchant_risk, last_hour, age]
    # Six decimals, so that the rows of expected.json are written exactly as they were computed.
    return np.stack(columns, axis=1).round(6).astype(np.float32), fraud, log_odds


def fraud() -> list[Version]:
    """Card fraud, one model in two versions of one signature: 1 a tree ensemble, 2 a small net."""
    rows, labels, risk = payments(60_000, seed=1)
    train, test, train_y, test_y, _, test_risk = train_test_split(
        rows, labels, risk, test_size=0.3, random_state=0, stratify=labels
    )
    trees = GradientBoostingClassifier(n_estimators=120, max_depth=4, subsample=0.5, random_state=0)
    net = make_pipeline(
        StandardScaler(),
        MLPClassifier((64, 32), max_iter=40, early_stopping=True, random_state=0),
    )
    return [
        Version(
            "fraud",
            number,
            convert(
                f"fraud_{number}",
                classifier.fit(train, train_y),
                Tensor("FEATURES", TensorProto.FLOAT, [7]),
                {
                    "label": Tensor("LABEL", TensorProto.INT64, [1]),
                    "probabilities": Tensor("PROBS", TensorProto.FLOAT, [2]),
                },
            ),
            rows=test,
            library=lambda batch, classifier=classifier: {
                "LABEL": classifier.predict(batch)[:, None],
                "PROBS": classifier.predict_proba(batch),
            },
            samples=test[[0, 1, np.argmax(test_risk)]],
            data=f"synthetic payments (see `payments`), 60000 rows, {labels.mean():.1%} fraud, "
            "30 % held out",
            held_out={
                "auc": roc_auc_score(test_y, classifier.predict_proba(test)[:, 1]),
                "auc_of_the_true_risk": roc_auc_score(test_y, test_risk),
            },
            labels=["genuine", "fraud"],
        )
        for number, classifier in [(1, trees), (2, net)]
    ]


TOPICS = ["cluster", "decomposition", "ensemble", "linear_model", "metrics", "preprocessing"]


def topic() -> list[Version]:
    """Which part of scikit-learn a paragraph is about: TF-IDF and logistic regression.

    Trained on the paragraphs of the library's own docstrings; a paragraph's class is the package
    that it was found in. Paragraphs of one file resemble each other, so the plain held-out
    accuracy flatters; `accuracy_on_unseen_files` is what to expect of other people's text.
    """
    chosen = [entry for entry in docstring_paragraphs() if entry.package in TOPICS]
    texts = np.array([entry.text for entry in chosen], dtype=object)
    classes = np.array([entry.package for entry in chosen], dtype=object)
    files = [entry.file for entry in chosen]
    train, test, train_y, test_y = train_test_split(
        texts, classes, test_size=0.25, random_state=0, stratify=classes
    )
    pipeline = make_pipeline(
        word_weights(), LogisticRegression(C=10, class_weight="balanced", max_iter=1000)
    )
    unseen = cross_val_score(pipeline, texts, classes, groups=files, cv=GroupKFold(5))
    pipeline.fit(train, train_y)
    model = convert(
        "topic",
        pipeline,
        Tensor("TEXT", TensorProto.STRING, [1]),
        {
            "label": Tensor("LABEL", TensorProto.STRING, [1]),
            "probabilities": Tensor("PROBS", TensorProto.FLOAT, [len(TOPICS)]),
        },
    )
    guesses = pipeline.predict(test)
    return [
        Version(
            "topic",
            1,
            model,
            rows=with_awkward_texts(test),
            library=lambda batch: {
                "LABEL": pipeline.predict(batch[:, 0])[:, None],
                "PROBS": pipeline.predict_proba(batch[:, 0]),
            },
            samples=column(
                [
                    "A random forest averages the votes of many decision trees.",
                    "k-means moves each centroid to the mean of the points nearest to it.",
                    "The area under the ROC curve, for naïve guesses: 0.5",
                ]
            ),
            data=f"{len(texts)} docstring paragraphs of scikit-learn, 25 % held out",
            held_out={
                "accuracy": float(np.mean(guesses == test_y)),
                "balanced_accuracy": balanced_accuracy_score(test_y, guesses),
                "accuracy_on_unseen_files": float(unseen.mean()),
            },
            labels=TOPICS,
        )
    ]


def text_embedding() -> list[Version]:
    """A text as a direction in 96 dimensions: TF-IDF, truncated SVD (LSA), length 1.

    The dot product of two embeddings says how alike the texts' words are. A text without a known
    word becomes the zero vector.
    """
    entries = list(docstring_paragraphs())
    files = sorted({entry.file for entry in entries})
    held_out_files = set(files[::5])
    train = [entry.text for entry in entries if entry.file not in held_out_files]
    test = [entry.text for entry in entries if entry.file in held_out_files]
    pipeline = make_pipeline(word_weights(), TruncatedSVD(96, random_state=0), Normalizer()).fit(
        train
    )
    model = convert(
        "text_embedding",
        pipeline,
        Tensor("TEXT", TensorProto.STRING, [1]),
        {"variable": Tensor("EMBEDDING", TensorProto.FLOAT, [96])},
    )
    return [
        Version(
            "text_embedding",
            1,
            model,
            rows=with_awkward_texts(np.array(test, dtype=object)),
            library=lambda batch: {"EMBEDDING": pipeline.transform(batch[:, 0])},
            samples=column(
                [
                    "Fit a random forest of decision trees.",
                    "An ensemble of trees, each grown on a bootstrap sample.",
                    "The bandwidth of the kernel density estimate",
                ]
            ),
            data=f"{len(entries)} docstring paragraphs of scikit-learn, one file in five held out",
            held_out={
                "explained_variance": float(pipeline[1].explained_variance_ratio_.sum()),
                **retrieval(pipeline, test),
            },
        )
    ]


def iot_anomaly() -> list[Version]:
    """Anomalies in eight correlated sensors: how far a reading is from the two main directions.

    SCORE is the squared distance over the value that 0.5 % of the normal training readings exceed,
    so that more than 1 is an anomaly. The model has no config.pbtxt: the server completes it.
    """
    rng = np.random.default_rng(2)
    covariance = 0.3 * np.ones((8, 8)) + 0.7 * np.eye(8)
    normal = rng.multivariate_normal(np.zeros(8), covariance, 20_000).round(6).astype(np.float32)
    shift = rng.choice([-1, 1], (400, 8)) * rng.uniform(1, 3, (400, 8))
    broken = (normal[:400] + shift).round(6).astype(np.float32)
    test, train = normal[:1000], normal[1000:]
    mean, deviation = train.mean(axis=0), train.std(axis=0)
    directions = np.linalg.svd((train - mean) / deviation, full_matrices=False)[2][:2]
    residual = np.eye(8) - directions.T @ directions

    def distance(batch: np.ndarray) -> np.ndarray:
        return np.square((batch - mean) / deviation @ residual).sum(axis=1, keepdims=True)

    threshold = np.quantile(distance(train), 0.995)
    model = make_model(
        "iot_anomaly",
        [
            helper.make_node("Sub", ["SENSORS", "mean"], ["centred"]),
            helper.make_node("Div", ["centred", "deviation"], ["scaled"]),
            helper.make_node("MatMul", ["scaled", "residual"], ["rest"]),
            helper.make_node("ReduceSumSquare", ["rest"], ["distance"], axes=[1], keepdims=1),
            helper.make_node("Div", ["distance", "threshold"], ["SCORE"]),
        ],
        Tensor("SENSORS", TensorProto.FLOAT, [8]),
        [Tensor("SCORE", TensorProto.FLOAT, [1])],
        {
            "mean": mean,
            "deviation": deviation,
            "residual": residual.astype(np.float32),
            "threshold": np.array([threshold], dtype=np.float32),
        },
    )
    truth = np.r_[np.zeros(len(test)), np.ones(len(broken))]
    rows = np.concatenate([test, broken])
    return [
        Version(
            "iot_anomaly",
            1,
            model,
            rows=rows,
            library=lambda batch: {"SCORE": distance(batch) / threshold},
            samples=rows[[0, 1, -1]],
            data="synthetic readings: 19000 normal for training; 1000 normal and 400 shifted by "
            "1 to 3 deviations a sensor held out",
            held_out={
                "auc": roc_auc_score(truth, distance(rows)[:, 0]),
                "found": float(np.mean(distance(broken) > threshold)),
                "false_alarms": float(np.mean(distance(test) > threshold)),
            },
        )
    ]


MODELS = [digits, fraud, iot_anomaly, text_embedding, topic]


# Text --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Paragraph:
    package: str
    file: str
    text: str


def docstring_paragraphs() -> Iterator[Paragraph]:
    """The different paragraphs of twelve words or more of scikit-learn's docstrings, in order."""
    root = Path(sklearn.__file__).parent
    seen = set()
    for path in sorted(root.rglob("*.py")):
        file = path.relative_to(root)
        if len(file.parts) < 2 or {"tests", "externals", "datasets"} & set(file.parts):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                continue
            for paragraph in re.split(r"\n\s*\n", ast.get_docstring(node) or ""):
                text = re.sub(r"\s+", " ", paragraph).strip()
                words = re.findall(r"[a-zA-Z]{2,}", text)
                if len(words) >= 12 and ">>>" not in text and text not in seen:
                    seen.add(text)
                    yield Paragraph(file.parts[0], file.as_posix(), text)


def word_weights() -> TfidfVectorizer:
    """TF-IDF over the words of two or more ASCII letters that two texts have, case ignored.

    Without `sublinear_tf`: skl2onnx 1.20 writes log(1 + count) for it, scikit-learn means
    1 + log(count), and the embeddings come out 0.015 apart.
    """
    return TfidfVectorizer(min_df=2, token_pattern=r"[a-zA-Z]{2,}")


def retrieval(pipeline: Pipeline, texts: list[str]) -> dict[str, float]:
    """How often the first half of a text (of 30 words or more) finds its second half.

    The candidates are the second halves of all the texts; `recall_at_10` counts those found among
    the ten nearest.
    """
    words = [text.split() for text in texts]
    words = [text for text in words if len(text) >= 30]
    first = pipeline.transform([" ".join(text[: len(text) // 2]) for text in words])
    second = pipeline.transform([" ".join(text[len(text) // 2 :]) for text in words])
    likeness = first @ second.T
    rank = (likeness > np.diag(likeness)[:, None]).sum(axis=1)
    return {
        "recall_at_1": float(np.mean(rank < 1)),
        "recall_at_10": float(np.mean(rank < 10)),
        "candidates": len(words),
    }


def column(texts: list[str] | np.ndarray) -> np.ndarray:
    """Texts as a tensor of shape [N, 1]."""
    return np.array(texts, dtype=object).reshape(-1, 1)


def with_awkward_texts(texts: np.ndarray) -> np.ndarray:
    """`texts` as a tensor, and before them what a tokenizer may stumble over."""
    awkward = ["", "   ", "1 2 3", "NAÏVE Bayes: straße 数据 🙂", "zzzz qqqq", "line\nbreak\ttab"]
    return column(awkward + texts.tolist())


# ONNX --------------------------------------------------------------------------------------------


def make_model(
    name: str,
    nodes: list[onnx.NodeProto],
    model_input: Tensor,
    outputs: list[Tensor],
    weights: dict[str, np.ndarray],
) -> ModelProto:
    """A model from its nodes; `weights` are the constants that the nodes name."""
    graph = helper.make_graph(
        nodes,
        name,
        [model_input.value_info],
        [output.value_info for output in outputs],
        [numpy_helper.from_array(value, key) for key, value in weights.items()],
    )
    used = sorted({node.domain for node in nodes} | {""})
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(domain, OPSETS[domain]) for domain in used]
    )
    model.ir_version = IR_VERSION
    model.producer_name = "despina make_models.py"
    return model


def convert(name: str, estimator, model_input: Tensor, outputs: dict[str, Tensor]) -> ModelProto:
    """A scikit-learn estimator as a model with exactly this signature.

    `outputs` maps the converter's names to ours. The converter's own signature has names and
    ranks that depend on the estimator (labels of rank 1, batch dimensions without a name), so its
    graph gets a Reshape before it and one behind each output.
    """
    is_text = model_input.datatype == TensorProto.STRING
    dims = [] if is_text else model_input.dims
    column_type = StringTensorType if is_text else FloatTensorType
    converted = to_onnx(
        estimator,
        name=name,
        initial_types=[("X", column_type([None, *dims]))],
        options={"zipmap": False} if hasattr(estimator, "predict_proba") else None,
        target_opset=OPSETS,
    )
    nodes = list(converted.graph.node)
    for node in nodes:
        use_locale_c(node)
    shapes = {"X": [-1, *dims]}
    before = helper.make_node("Reshape", [model_input.name, "X_shape"], ["X"])
    behind = []
    for inner, output in outputs.items():
        shapes[inner] = [-1, *output.dims]
        behind.append(helper.make_node("Reshape", [inner, f"{inner}_shape"], [output.name]))
    weights = {
        constant.name: numpy_helper.to_array(constant) for constant in converted.graph.initializer
    }
    weights |= {f"{inner}_shape": np.array(shape) for inner, shape in shapes.items()}
    return make_model(name, [before, *nodes, *behind], model_input, list(outputs.values()), weights)


def use_locale_c(node: onnx.NodeProto) -> None:
    """Makes a StringNormalizer work where the default locale, en_US, is not installed."""
    if node.op_type == "StringNormalizer":
        kept = [attribute for attribute in node.attribute if attribute.name != "locale"]
        del node.attribute[:]
        node.attribute.extend([*kept, helper.make_attribute("locale", "C")])


# Checks ------------------------------------------------------------------------------------------


def check(version: Version, session: onnxruntime.InferenceSession) -> float:
    """Stops the script unless the model is what its function promised.

    The file must be valid and old enough; "N" must come first everywhere; the answers must be the
    training library's, the same in a batch of five as in five batches of one, and finite. Returns
    the largest difference from the library.
    """
    onnx.checker.check_model(version.onnx, full_check=True)
    assert version.onnx.ir_version <= 10
    assert all(opset.version <= 21 for opset in version.onnx.opset_import)
    for tensor in [*session.get_inputs(), *session.get_outputs()]:
        assert tensor.shape[0] == "N" and all(isinstance(d, int) for d in tensor.shape[1:]), tensor

    worst = difference(answer(session, version.rows), version.library(version.rows))
    assert worst <= TOLERANCE, f"{version.model}: {worst} from the library's answer"

    five = version.rows[:5]
    singles = [answer(session, row[None]) for row in five]
    joined = {name: np.concatenate([single[name] for single in singles]) for name in singles[0]}
    apart = difference(answer(session, five), joined)
    assert apart <= 1e-6, f"{version.model}: a batch of five answers {apart} away from five of one"
    return worst


def difference(actual: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> float:
    """The largest difference of floats, relative above 1; anything else must be equal."""
    assert actual.keys() == expected.keys()
    worst = 0.0
    for name, got in actual.items():
        want = expected[name]
        assert got.shape == want.shape, f"{name}: {got.shape} instead of {want.shape}"
        if got.dtype.kind == "f":
            assert np.isfinite(got).all(), f"{name} is not finite"
            distance = np.abs(got - want) / np.maximum(1, np.abs(want))
            worst = max(worst, float(distance.max()))
        else:
            assert (got == want).all(), f"{name} differs"
    return worst


def answer(session: onnxruntime.InferenceSession, rows: np.ndarray) -> dict[str, np.ndarray]:
    """The model's outputs by name."""
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {session.get_inputs()[0].name: rows}), strict=True))


# Files -------------------------------------------------------------------------------------------

DATATYPES = {"tensor(float)": "FP32", "tensor(int64)": "INT64", "tensor(string)": "BYTES"}


def signature(tensors: list[onnxruntime.NodeArg]) -> list[dict]:
    """Inputs or outputs in the words of the KServe v2 protocol."""
    return [{"name": t.name, "datatype": DATATYPES[t.type], "shape": t.shape} for t in tensors]


def request_tensors(
    tensors: list[onnxruntime.NodeArg], values: dict[str, np.ndarray]
) -> list[dict]:
    """Tensors as an inference request or response of the KServe v2 protocol writes them."""
    written = []
    for entry in signature(tensors):
        value = values[entry["name"]]
        data = value.ravel().tolist()
        if entry["datatype"] == "FP32":
            data = [round(number, 6) for number in data]
        written.append({**entry, "shape": list(value.shape), "data": data})
    return written


def cases(version: Version, session: onnxruntime.InferenceSession) -> list[dict]:
    """The version's samples, one a request, with the answers."""
    inputs, outputs = session.get_inputs(), session.get_outputs()
    return [
        {
            "inputs": request_tensors(inputs, {inputs[0].name: row[None]}),
            "outputs": request_tensors(outputs, answer(session, row[None])),
        }
        for row in version.samples
    ]


def write_version(version: Version, out: Path) -> tuple[dict, dict]:
    """Writes the version's files and returns its entries for report.json and expected.json."""
    path = out / version.model / str(version.number) / "model.onnx"
    path.parent.mkdir(parents=True, exist_ok=True)
    content = version.onnx.SerializeToString(deterministic=True)
    path.write_bytes(content)
    if version.labels:
        (out / version.model / "labels.txt").write_text("\n".join(version.labels) + "\n")

    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    worst = check(version, session)
    key = {"model": version.model, "version": str(version.number)}
    report = {
        **key,
        "byte_size": len(content),
        "sha256": hashlib.sha256(content).hexdigest(),
        "ir_version": version.onnx.ir_version,
        "opsets": {o.domain or "ai.onnx": o.version for o in version.onnx.opset_import},
        "inputs": signature(session.get_inputs()),
        "outputs": signature(session.get_outputs()),
        "data": version.data,
        "held_out": {name: round(value, 4) for name, value in version.held_out.items()},
        "rows_checked": len(version.rows),
        "largest_difference_from_library": float(f"{worst:.1e}"),
    }
    return report, {**key, "cases": cases(version, session)}


def write_json(path: Path, value: object) -> None:
    """Writes JSON with every list of plain values on one line."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    one_line = re.sub(r"\[\n[^\[\]{}]*?\]", lambda found: re.sub(r"\n\s*", " ", found[0]), text)
    path.write_text(one_line + "\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=HERE, help="folder to write to (default: here)")
    out = parser.parse_args().out.resolve()

    reports, expected = [], []
    # One thread, so that sums are taken in the same order on every machine of one kind.
    with threadpool_limits(1):
        for make in MODELS:
            for version in make():
                report, known = write_version(version, out)
                reports.append(report)
                expected.append(known)
                held_out = report["held_out"]
                print(f"{version.model} {version.number}: {report['byte_size']} bytes, {held_out}")

    signatures = {}
    for report in reports:
        promised = signatures.setdefault(report["model"], (report["inputs"], report["outputs"]))
        assert promised == (report["inputs"], report["outputs"]), (
            f"{report['model']}: versions differ"
        )

    if out != HERE:
        for config in HERE.glob("*/config.pbtxt"):
            shutil.copyfile(config, out / config.parent.name / config.name)
    packages = ["scikit-learn", "skl2onnx", "onnx", "onnxruntime", "numpy"]
    made_with = {name: package_version(name) for name in packages}
    write_json(out / "report.json", {"made_with": made_with, "versions": reports})
    write_json(out / "expected.json", {"float_decimals": 6, "versions": expected})


if __name__ == "__main__":
    main()
