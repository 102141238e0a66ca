"""How fast SketchSWiG and SketchHOI are drawn, and how much of that is the JPEG: pictures a second on one core.

python benchmarks/bench_sketch.py [pictures]
"""

from __future__ import annotations

import sys
import time

from ovgsr.sketch.hoi_picture import draw_hoi_picture
from ovgsr.sketch.split import SEEN
from ovgsr.sketch.write import draw_picture, jpeg_bytes


def main() -> None:
    """Draws, then encodes, and prints both rates."""
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 1000
    draw_picture(0, "train", SEEN[0], 0)  # the sprites are rasterised once
    started = time.process_time()
    drawn = [draw_picture(0, "train", SEEN[index % len(SEEN)], index) for index in range(count)]
    drawing = time.process_time() - started
    started = time.process_time()
    size = sum(len(jpeg_bytes(rendered.image)) for _, rendered, _ in drawn)
    encoding = time.process_time() - started
    print(f"drawing and annotating {count / drawing:7.0f} pictures/s")
    print(f"JPEG                   {count / encoding:7.0f} pictures/s, {size / count:.0f} bytes a picture")
    print(f"both                   {count / (drawing + encoding):7.0f} pictures/s")
    draw_hoi_picture(0, "train", 0)
    started = time.process_time()
    for index in range(count):
        draw_hoi_picture(0, "train", index)
    of_hoi = time.process_time() - started
    print(f"SketchHOI, drawing     {count / of_hoi:7.0f} pictures/s, {drawing / of_hoi:.2f} of SketchSWiG's rate")


if __name__ == "__main__":
    main()
