"""Images a second that a forged set of 256 px takes, on Kodak photographs' crops, and its peak memory.

Compares with encoding and decoding the same images alone, by as many threads: the rest of forging (crops, masks, fills,
hashes, sharpness, tar) should cost little beside it. Wall time says nothing on a busy machine: images per second of CPU
time are printed too, times the threads.

    python -m tests.benchmarks.bench_forge [--photographs 512] [--size 256] [--threads 2] [--inpainter mean_fill]
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainables.forgery import forged_images
from trainables.forgery import shards as forged_shards
from trainables.forgery.config import resolve_forge
from trainables.forgery.encoding import decode, encode

ROOT = Path(os.environ.get("SWEEPS_DATA", Path(__file__).resolve().parents[3] / "shared" / "data"))


class Watch:
    """Wall and CPU seconds since it was made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def rates(self, images: int, threads: int) -> str:
        wall, cpu = time.perf_counter() - self._wall, time.process_time() - self._cpu
        return f"{images / wall:.0f} images/s ({images / cpu * threads:.0f} by CPU time, were {threads} cores free)"


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photographs", type=int, default=512)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--inpainter", default="mean_fill")
    options = parser.parse_args()
    crops = options.photographs // 19 + 2
    counts = {"train": options.photographs, "val": 2, "test": 2}
    section = {"name": "folder", "path": "kodak24", "crops": crops, "size": options.size, **counts}
    block = {"images": section, "mask": {"name": "box"}, "inpainters": [{"name": options.inpainter}]}
    resolved = resolve_forge({**block, "encoder": {"name": "png", "level": 1}})
    before = peak_mb()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "shards").mkdir()
        watch, indices, images = Watch(), {}, 0
        shards = forged_shards.plan_shards(resolved, ROOT)
        for shard in shards:
            files = forged_shards.make_shard(resolved, shard, ROOT, threads=options.threads)
            for file, content in files.items():
                (folder / file).write_bytes(content)
            indices[shard.name] = json.loads(files[shard.files[1]])
            images += 2 * (shard.stop - shard.start)
            print(f"shard {shard.name}: peak memory {peak_mb():.0f} MB ({before:.0f} before)", flush=True)
        for file, content in forged_shards.finish(resolved, shards, indices).items():
            (folder / file).write_bytes(content)
        print(f"forged {images} images of {options.size} px: {watch.rates(images, options.threads)}")
        watch = Watch()
        found = forged_images.load(folder, threads=options.threads)
        print(f"loaded: {watch.rates(images, options.threads)}")
    pixels = found.train.image_n3hw.permute(0, 2, 3, 1).contiguous().numpy()
    png = {"name": "png", "level": 1}
    with ThreadPoolExecutor(options.threads) as pool:
        watch = Watch()
        for _ in pool.map(lambda image: decode(encode(image, png)), pixels):
            pass
        print(f"encoding and decoding PNG alone: {watch.rates(len(pixels), options.threads)}")


if __name__ == "__main__":
    main()
