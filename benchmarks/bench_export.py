"""What an ONNX export costs beside PyTorch, in one run: time a picture, sizes of files, largest difference.

    python benchmarks/bench_export.py [MODEL] [--threads 1] [--repeat 15]

Of a student for situations (by default the shipped one): every verb of its vocabulary ranked and the frames of five
filled, from pixels that are ready. Needs the extra 'onnx'.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch

from ovgsr.export.graphs import example_pixels
from ovgsr.export.onnx import export_onnx
from ovgsr.recognizers.student import SituationRecognizer, shipped_folder
from ovgsr.situation import ImagePrediction

BATCHES = (1, 16)


def predict(recognizer: SituationRecognizer, pictures: int) -> list[ImagePrediction]:
    """Predictions for so many pictures of noise."""
    pixels = example_pixels(recognizer.checkpoint, pictures)
    sizes_wh = torch.full((pictures, 2), float(recognizer.checkpoint.preprocess.size))
    return recognizer.predict_pixels(pixels, sizes_wh, None, [""] * pictures, top_k=5)


def milliseconds(works: Sequence[Callable[[], object]], repeat: int) -> list[float]:
    """The medians of all, which take turns, so that other work on the machine meets them alike."""
    times: list[list[float]] = [[] for _ in works]
    for turn in range(repeat + 2):
        for work, own in zip(works, times, strict=True):
            started = time.perf_counter()
            work()
            if turn >= 2:  # the first two warm up
                own.append(1000 * (time.perf_counter() - started))
    return [sorted(own)[repeat // 2] for own in times]


def main(arguments: Sequence[str] | None = None) -> None:
    """Exports twice, runs all three and prints a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default="sketch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--repeat", type=int, default=15)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    folder = Path(shipped_folder(options.model))
    plain = SituationRecognizer.from_pretrained(folder, device="cpu")
    print(f"PyTorch: model.safetensors {(folder / 'model.safetensors').stat().st_size / 1e6:.2f} MB")
    others = {}
    with tempfile.TemporaryDirectory() as temporary:
        for name, int8 in (("float32", False), ("int8", True)):
            sizes = export_onnx(folder, Path(temporary) / name, int8=int8)
            graphs = sum(size for file, size in sizes.items() if file.endswith(".onnx"))
            print(f"{name}: graphs {graphs / 1e6:.2f} MB, everything {sum(sizes.values()) / 1e6:.2f} MB")
            others[name] = SituationRecognizer.from_pretrained(Path(temporary) / name)
        for pictures in BATCHES:
            works = [partial(predict, recognizer, pictures) for recognizer in (plain, *others.values())]
            ours, *theirs = milliseconds(works, options.repeat)
            expected = [dict(prediction.ranking) for prediction in predict(plain, pictures)]
            for (name, recognizer), took in zip(others.items(), theirs, strict=True):
                found = [dict(prediction.ranking) for prediction in predict(recognizer, pictures)]
                apart = max(abs(f[v] - e[v]) for f, e in zip(found, expected, strict=True) for v in e)
                times = f"PyTorch {ours / pictures:6.2f} ms a picture, ONNX Runtime {name:7s} {took / pictures:6.2f}"
                print(f"batches of {pictures:2d}: {times}, ratio {ours / took:4.2f}; probabilities apart {apart:.0e}")


if __name__ == "__main__":
    main()
