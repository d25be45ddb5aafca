"""A report reads few objects, also on S3, and does not depend on the copy of finished records."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from analysis import studies
from analysis.claims import overview
from analysis.report import build as report
from analysis.report import formats
from sweeps.store import layout, record_cache
from sweeps.store.base import Store
from sweeps.store.local import FolderStore
from sweeps.store.open import open_store
from sweeps.store.s3 import store as s3_store
from tests.analysis.make_store import NOW, ArmSpec, make_store
from tests.proxy import Proxy, proxy_to
from tests.s3servers import BUCKET, Server, moto_server

NAME = "partial-conv"


STUDIES = range(3)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The stores `reported`, with 150 trials, and `claimed`, with three studies of 24 trials without pictures."""
    folder = tmp_path_factory.mktemp("filled")
    make_store(folder / "reported", [ArmSpec(f"arm {i}", 25.0) for i in range(15)], range(10), [])
    for number in STUDIES:
        arms = [ArmSpec(f"arm {number}.{i}", 25.0 + (number + 1) * i) for i in range(4)]
        claim = {"text": "it is", "metric": "test/psnr_db", "better": arms[1].name, "than": arms[0].name}
        study = make_store(folder.with_name(f"{folder.name}-{number}"), arms, range(6), [claim], name=f"study-{number}")
        without = shutil.ignore_patterns("samples")
        shutil.copytree(study.root, folder / "claimed", ignore=without, dirs_exist_ok=True)
    return folder


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    """An S3 server that has both stores from its start: to upload 1,500 objects takes longer than the tests."""
    with moto_server(folder) as server:
        yield server


@pytest.fixture
def proxy(server: Server, aws: pytest.MonkeyPatch) -> Iterator[Proxy]:
    with proxy_to(server.port) as proxy:
        aws.setenv("AWS_ENDPOINT_URL", proxy.url)
        yield proxy


def test_a_report_asks_less_than_once_for_ten_trials(folder: Path, proxy: Proxy, aws: pytest.MonkeyPatch) -> None:
    """150 trials, and listings as short as if each trial had 30 objects (checkpoints, pictures)."""
    store = open_store(f"s3://{BUCKET}/reported")
    objects = len(list(store.keys("trials/"))) / 150
    aws.setattr(s3_store, "PAGE", round(1000 * objects / 30))
    expected = formats.csv(report.build(FolderStore(folder / "reported"), NAME, NOW))
    record_cache.refresh(store, NAME)
    proxy.requests.clear()
    built = report.build(store, NAME, NOW)
    assert formats.csv(built) == expected
    print(f"{len(proxy.requests)} requests")
    assert len(proxy.requests) <= 15, [request.path for request in proxy.requests]
    assert len(built.study.done()) == 150
    formats.html(built)
    assert len(proxy.requests) <= 15 + 3 * 15, "pictures and values of single images: a few requests an arm"


@pytest.fixture
def small(tmp_path: Path) -> FolderStore:
    store = make_store(tmp_path, [ArmSpec("net", 25.0)], range(4), [])
    record_cache.refresh(store, NAME)
    assert store.find([record_cache.key_of(NAME)])
    return store


def results(store: Store) -> list[str]:
    return sorted(key for key in store.keys("trials/") if "/result/" in key)


def same(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    return bool(one.equals(other))


def records(store: Store) -> pd.DataFrame:
    return studies.read(store, NAME, NOW).records


def without_copy(store: FolderStore) -> pd.DataFrame:
    store.delete([record_cache.key_of(NAME)])
    return records(store)


def test_an_altered_result_is_read_from_the_store(small: FolderStore) -> None:
    key = results(small)[0]
    body = layout.load(key, small.get(key))
    body["history"]["val/psnr_db"][0] = 12345.0
    small.put(key, layout.dump(body))
    found = records(small)
    assert (found["val/psnr_db"] == 12345.0).sum() == 1
    assert same(found, without_copy(small))


def test_a_deleted_result_is_missing(small: FolderStore) -> None:
    small.delete(results(small)[:1])
    found = records(small)
    assert found["seed"].nunique() == 3
    assert same(found, without_copy(small))


@pytest.mark.parametrize("damage", [b"", b"PAR1 and nothing else", b"not at all"])
def test_a_damaged_copy_is_passed_over(small: FolderStore, damage: bytes) -> None:
    expected = records(small)
    small.put(record_cache.key_of(NAME), damage)
    assert same(records(small), expected)


def test_a_report_makes_the_copy_where_it_read_many(small: FolderStore) -> None:
    small.delete([record_cache.key_of(NAME)])
    records(small)
    assert not small.find([record_cache.key_of(NAME)]), "four objects are soon read"
    copied = record_cache.CachedStore(small, NAME)
    read = copied.results(results(small))
    assert copied.refresh(3)
    again = record_cache.CachedStore(small, NAME)
    held = again.results(results(small))
    assert again.missed == 0
    assert not again.refresh(0)
    assert [body for body, _ in held.values()] == [body for body, _ in read.values()]
    for (_, before), (_, after) in zip(read.values(), held.values(), strict=True):
        assert list(before) == list(after)
        assert all(np.array_equal(before[name], after[name], equal_nan=True) for name in before), "to the last bit"


def test_a_copy_of_an_older_form_is_passed_over(small: FolderStore) -> None:
    expected, sink = records(small), io.BytesIO()
    key = results(small)[0]
    older = pa.table({"key": [key], "version": [small.find([key])[key]], "data": [small.get(key)]})
    pq.write_table(older, sink)
    small.put(record_cache.key_of(NAME), sink.getvalue())
    assert same(records(small), expected)


def test_claims_ask_a_few_times_for_each_study(folder: Path, proxy: Proxy, aws: pytest.MonkeyPatch) -> None:
    """Three studies of 24 trials in one bucket: one walk through the listing serves all, without requests per trial."""
    store, expected = open_store(f"s3://{BUCKET}/claimed"), []
    for number in STUDIES:
        expected += overview.collect(FolderStore(folder.with_name(f"{folder.name}-{number}")))
        record_cache.refresh(store, f"study-{number}")
    aws.setattr(s3_store, "PAGE", 50)
    pages = len(list(store.keys("trials/"))) / 50
    proxy.requests.clear()
    assert overview.collect(store) == expected
    paths = [request.path for request in proxy.requests]
    listings = [path for path in paths if "list-type" in path and "trials" in path]
    print(f"{len(paths)} requests, {len(listings)} of them for {pages:.1f} pages")
    assert len(listings) <= pages + 8, "a page may be read twice where the walk is shared out"
    assert len(paths) - len(listings) <= 3 * 6 + 2, paths
