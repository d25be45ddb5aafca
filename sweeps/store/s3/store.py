"""A store in an S3 bucket on AWS or on the server at AWS_ENDPOINT_URL (MinIO, Ceph, rclone).

Failures during long runs:

- If the server is busy or unreachable or cuts a connection, requests are retried with exponential backoff and jitter
  for `PATIENCE_S` seconds (SWEEPS_STORE_PATIENCE); if it has never answered, only for `FIRST_S`, so that a mistyped
  address is reported soon. Then a StoreAwayError is raised.
- Credentials come from boto3's default chain, which refreshes those of roles. Others (such as a file that is rewritten)
  are reloaded when the server says that they are expired or unknown.
- `create` is a conditional put. Some servers ignore the condition (rclone does), which is tested once per process. With
  them, `create` checks, writes, waits `SETTLE_S` and reads back: of several writers the last one wins and all of them
  agree, provided that no write takes longer than `SETTLE_S`. `exclusive` tells which of the two is used.
"""

from __future__ import annotations

import logging
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from sweeps.errors import StoreAwayError, StoreError
from sweeps.parallel import parallel_map
from sweeps.store.base import TEMPORARY, check_key, is_key, never
from sweeps.store.s3.client import Client, ConditionalPutUnsupported, ObjectExists, ObjectMissing
from sweeps.store.s3.errors import Refusal, explain, status_of
from sweeps.store.s3.lookup import find_versions

SETTLE_S = 0.5
"""Seconds between writing and reading back if the server ignores conditional puts."""
PART = 16 * 2**20
"""Size in bytes of the parts of a multipart upload, which is used for larger objects."""
_THREADS, _PART_THREADS = 32, 4
PAGE = 1000
"""Objects per listing or deletion request, the maximum of S3."""
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")

_log = logging.getLogger(__name__)


class S3Store:
    """Objects in a bucket under a prefix. Connects at the first request. Thread-safe."""

    def __init__(self, address: str, patience_s: float | None = None) -> None:
        """
        address: the part after `s3://`
        patience_s: replaces `PATIENCE_S`
        """
        bucket, _, prefix = address.strip("/").partition("/")
        if not _BUCKET.fullmatch(bucket):
            raise StoreError(
                f"store 's3://{address}'",
                f"{bucket!r} is not a bucket name" + ("; credentials do not belong here" if "@" in bucket else ""),
                "s3://bucket or s3://bucket/prefix",
                "--store s3://my-bucket/sweeps",
            )
        self._bucket = bucket
        self._prefix = check_key(prefix) + "/" if prefix else ""
        self._client = Client(self.uri, _THREADS + _PART_THREADS, patience_s)
        self._ask = self._client.ask
        self._trying = threading.Lock()
        self._exclusive: bool | None = None

    @property
    def uri(self) -> str:
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    # --- objects ------------------------------------------------------------------------------------------------------

    def get(self, key: str) -> bytes:
        name = self._name(key)

        def read(client: Any) -> bytes:
            data: bytes = client.get_object(Bucket=self._bucket, Key=name)["Body"].read()
            return data

        try:
            return self._ask(f"read {key!r}", read)
        except ObjectMissing:
            raise KeyError(key) from None

    def get_many(self, keys: Iterable[str]) -> dict[str, bytes]:
        def read(key: str) -> bytes | None:
            try:
                return self.get(key)
            except KeyError:
                return None

        wanted = list(keys)
        bodies = zip(wanted, parallel_map(read, wanted, _THREADS), strict=True)
        return {key: data for key, data in bodies if data is not None}

    def put(self, key: str, data: bytes, abandoned: Callable[[], bool] = never) -> None:
        name = self._name(key)
        if len(data) > PART:
            self._put_parts(key, name, data, abandoned)
        else:
            self._ask(f"write {key!r}", lambda c: c.put_object(Bucket=self._bucket, Key=name, Body=data), abandoned)

    def _put_parts(self, key: str, name: str, data: bytes, abandoned: Callable[[], bool]) -> None:
        """Upload an object in parts. It becomes visible with the last request, or not at all."""
        verb, where = f"write {key!r}", {"Bucket": self._bucket, "Key": name}
        where["UploadId"] = self._ask(verb, lambda c: c.create_multipart_upload(**where), abandoned)["UploadId"]

        def send(number: int) -> dict[str, Any]:
            piece = data[(number - 1) * PART : number * PART]
            sent = self._ask(verb, lambda c: c.upload_part(**where, PartNumber=number, Body=piece), abandoned)
            return {"PartNumber": number, "ETag": sent["ETag"]}

        try:
            parts = parallel_map(send, range(1, -(-len(data) // PART) + 1), _PART_THREADS)
            self._complete(verb, key, where, parts, len(data), abandoned)
        except BaseException:
            self._forget_parts(where)
            raise

    def _complete(
        self, verb: str, key: str, where: dict[str, Any], parts: list[Any], size: int, abandoned: Callable[[], bool]
    ) -> None:
        try:
            self._ask(verb, lambda c: c.complete_multipart_upload(**where, MultipartUpload={"Parts": parts}), abandoned)
        except (
            ObjectMissing
        ):  # a retry, because the response to the first request was lost: check whether the object exists
            if self._sizes(key).get(key) != size:
                raise StoreError(
                    f"store {self.uri!r}: cannot {verb}",
                    "the server has discarded the incomplete upload",
                    "a lifecycle rule that keeps incomplete uploads for at least a day",
                    "run the same command again; it continues",
                ) from None

    def _forget_parts(self, where: dict[str, Any]) -> None:
        """Abort an upload, without retries; a lifecycle rule of the bucket should delete what is left if this fails."""
        try:
            self._client.now().abort_multipart_upload(**where)
        except Exception as error:  # the error of the upload itself is raised instead
            _log.debug("an incomplete upload of %s was not deleted: %s", where["Key"], error)

    def delete(self, keys: Iterable[str]) -> None:
        names = [self._name(key) for key in keys]
        for start in range(0, len(names), PAGE):
            self._delete(names[start : start + PAGE])

    def _delete(self, names: list[str]) -> None:
        request = {"Objects": [{"Key": name} for name in names], "Quiet": True}
        verb = f"delete {names[0]!r}"
        done = self._ask(verb, lambda c: c.delete_objects(Bucket=self._bucket, Delete=request))
        for trouble in done.get("Errors", []):
            if trouble.get("Code") != "NoSuchKey":
                refusal = Refusal(trouble.get("Code", ""), trouble.get("Message", ""))
                raise explain(refusal, f"delete {trouble.get('Key')!r}", self.uri, None, 0.0)

    def remove_unfinished(self, older_than_s: float) -> int:
        where = {"Bucket": self._bucket, "Prefix": self._prefix}
        listed = self._ask("list incomplete uploads", lambda c: c.list_multipart_uploads(**where)).get("Uploads", [])
        old = [upload for upload in listed if time.time() - upload["Initiated"].timestamp() >= older_than_s]
        for upload in old:
            self._forget_parts({"Bucket": self._bucket, "Key": upload["Key"], "UploadId": upload["UploadId"]})
        return len(old)

    # --- conditional writes -------------------------------------------------------------------------------------------

    @property
    def exclusive(self) -> bool:
        with self._trying:
            if self._exclusive is None:
                name = f"{self._prefix}{TEMPORARY}{uuid.uuid4().hex}"
                try:
                    self._put_once(name, b"1")
                    self._exclusive = not self._put_once(name, b"2")
                except ConditionalPutUnsupported:
                    self._exclusive = False
                self._ask("delete a probe", lambda c: c.delete_object(Bucket=self._bucket, Key=name))
            return self._exclusive

    @property
    def writable(self) -> bool:
        """Start a multipart upload and abort it, which needs write permission and leaves no object."""
        where = {"Bucket": self._bucket, "Key": f"{self._prefix}{TEMPORARY}{uuid.uuid4().hex}"}
        try:
            where["UploadId"] = self._ask("write", lambda c: c.create_multipart_upload(**where))["UploadId"]
        except StoreAwayError:
            raise
        except StoreError:
            return False
        self._forget_parts(where)
        return True

    def create(self, key: str, data: bytes) -> bool:
        name = self._name(key)
        if self.exclusive:
            created = self._put_once(name, data)
            return self.get(key) == data if created is None else created
        if self.find([key]):
            return False
        self.put(key, data)
        time.sleep(SETTLE_S)
        return self.get(key) == data

    def _put_once(self, name: str, data: bytes) -> bool | None:
        """Conditional put. Returns whether it wrote; None if a retry was refused, as the first try may have written."""
        tries = 0

        def write(client: Any) -> None:
            nonlocal tries
            tries += 1
            client.put_object(Bucket=self._bucket, Key=name, Body=data, IfNoneMatch="*")

        try:
            self._ask(f"create {name!r}", write)
        except ObjectExists:
            return False if tries == 1 else None
        return True

    def create_many(self, objects: Iterable[tuple[str, bytes]]) -> set[str]:
        wanted = list(objects)
        created = parallel_map(lambda item: self.create(*item), wanted, _THREADS)
        return {key for (key, _), done in zip(wanted, created, strict=True) if done}

    # --- listing ------------------------------------------------------------------------------------------------------

    def exists_many(self, keys: Iterable[str]) -> set[str]:
        wanted = {check_key(key) for key in keys}
        return wanted & self.find(wanted).keys()

    def find(self, prefixes: Iterable[str]) -> dict[str, str]:
        """Takes at most one request per prefix; see `sweeps.store.s3.lookup`."""
        names = {self._prefix + check_key(p.rstrip("/")) + "/" * p.endswith("/") for p in prefixes}
        versions = find_versions(self._page, self._version, names, len(self._prefix))
        return {name.removeprefix(self._prefix): v for name, v in versions.items() if self._is_ours(name)}

    def _version(self, name: str) -> str | None:
        """The version of an object, None if there is none."""

        def look(client: Any) -> str | None:
            from botocore.exceptions import ClientError

            try:
                return str(client.head_object(Bucket=self._bucket, Key=name)["ETag"])
            except ClientError as error:
                if status_of(error) == 404:
                    return None
                if status_of(error) >= 500:
                    raise
            # A HEAD response has no body to tell expired credentials from missing permissions; a listing has one.
            page = client.list_objects_v2(Bucket=self._bucket, Prefix=name, MaxKeys=1)
            return next((str(item["ETag"]) for item in page.get("Contents", []) if item["Key"] == name), None)

        version = self._ask(f"look for {name!r}", look)
        return version and version.strip('"')

    def _page(self, prefix: str, after: str) -> dict[str, Any]:
        """Up to 1,000 objects under a prefix, starting after a key."""
        start = {"StartAfter": after} if after else {}
        verb = f"list {prefix!r}"
        page: dict[str, Any] = self._ask(
            verb, lambda c: c.list_objects_v2(Bucket=self._bucket, Prefix=prefix, MaxKeys=PAGE, **start)
        )
        items = page.get("Contents", [])
        if page.get("IsTruncated") and (not items or items[-1]["Key"] <= after):
            why, allowed = "the server ignores `start-after` in listings", "a server that supports it"
            raise StoreError(
                f"store {self.uri!r}: cannot {verb}", why, allowed, "--store FOLDER, or a server that supports it"
            )
        return page

    def keys(self, prefix: str) -> Iterator[str]:
        top = self._prefix + (check_key(prefix.rstrip("/")) + "/" if prefix else "")
        after, more = "", True
        while more:
            page = self._page(top, after)
            names = [item["Key"] for item in page.get("Contents", [])]
            yield from sorted(name.removeprefix(self._prefix) for name in names if self._is_ours(name))
            more = bool(page.get("IsTruncated"))
            after = names[-1] if names else ""

    def children(self, prefix: str) -> list[str]:
        top = self._prefix + (check_key(prefix.rstrip("/")) + "/" if prefix else "")
        names: set[str] = set()
        more: dict[str, str] | None = {}
        while more is not None:
            page = self._level(top, more)
            names |= {item["Prefix"].removeprefix(top).rstrip("/") for item in page.get("CommonPrefixes", [])}
            names |= {i["Key"].removeprefix(top) for i in page.get("Contents", []) if self._is_ours(i["Key"])}
            more = {"ContinuationToken": page["NextContinuationToken"]} if page.get("IsTruncated") else None
        return sorted(names - {""})

    def _level(self, top: str, more: dict[str, str]) -> dict[str, Any]:
        where = {"Bucket": self._bucket, "Prefix": top, "Delimiter": "/", **more}
        page: dict[str, Any] = self._ask(f"list {top!r}", lambda c: c.list_objects_v2(**where))
        return page

    def _sizes(self, key: str) -> dict[str, int]:
        page = self._page(self._name(key), "")
        return {item["Key"].removeprefix(self._prefix): item["Size"] for item in page.get("Contents", [])}

    def _is_ours(self, name: str) -> bool:
        """Whether an object belongs to the store: not a probe (`TEMPORARY`), not a folder made by a web console, and no
        name that could leave a folder when it is copied."""
        return is_key(name.removeprefix(self._prefix))

    def _name(self, key: str) -> str:
        return self._prefix + check_key(key)
