"""The Kubernetes manifests are whole: everything that an object refers to is created by one of them."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from sweeps.cli.main import build_parser
from tests.cluster.manifests.test_manifests import with_optional

MANIFESTS = Path(__file__).resolve().parents[3] / "cluster" / "manifests"
DOCS = MANIFESTS.parents[1] / "docs" / "clusters-and-s3.md"
KUBERNETES = ("common.yaml", "data_job.yaml", "kueue.yaml", "networkpolicy.yaml", "raycluster.yaml", "rayjob.yaml")
QUEUE = "kueue.x-k8s.io/queue-name"
REFERENCES = {
    "serviceAccountName": "ServiceAccount",
    "claimName": "PersistentVolumeClaim",
    "clusterQueue": "ClusterQueue",
    QUEUE: "LocalQueue",
    "secretRef": "Secret",
    "imagePullSecrets": "Secret",
}
"""Fields with the name of another object, and its kind."""
OTHERS = {"secretName", "secretKeyRef", "configMapKeyRef", "configMapRef", "configMap"}
OTHERS |= {"priorityClassName", "runtimeClassName", "schedulerName"}
"""Fields of references that no manifest has; one that needs them must also create the object, and stand above."""


def objects(optional: bool = False) -> list[dict[str, Any]]:
    """Every object of the Kubernetes manifests; with the lines that are optional if `optional`."""
    texts = [(MANIFESTS / name).read_text(encoding="utf-8") for name in KUBERNETES]
    texts = list(map(with_optional, texts)) if optional else texts
    return [made for text in texts for made in yaml.safe_load_all(text)]


def references(value: Any) -> Iterator[tuple[str, str]]:
    """(kind, name) of everything that a part of a manifest refers to."""
    for name, below in value.items() if isinstance(value, dict) else ():
        if name in OTHERS:
            yield f"unknown kind of {name}", str(below)
        elif name == "secretRef":
            yield REFERENCES[name], below["name"]
        elif name == "imagePullSecrets":
            yield from ((REFERENCES[name], secret["name"]) for secret in below)
        elif name in REFERENCES:
            yield REFERENCES[name], below
        elif name == "flavors":
            yield from (("ResourceFlavor", flavor["name"]) for flavor in below)
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from references(below)


def missing(made: list[dict[str, Any]]) -> set[tuple[str, str]]:
    have = {(one["kind"], one["metadata"]["name"]) for one in made}
    return {wanted for one in made for wanted in references(one)} - have


def pods(value: Any) -> Iterator[dict[str, Any]]:
    """The specification of every pod in a part of a manifest."""
    if isinstance(value, dict) and "containers" in value:
        yield value
    for below in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from pods(below)


def test_every_object_that_is_referred_to_is_created() -> None:
    made = objects()
    assert missing(made) == {("Secret", "inpaint-sweeps-store")}, "optional, see below"
    names = [(one["kind"], one["metadata"]["name"]) for one in made]
    assert len(names) == len(set(names)) == 9


@pytest.mark.parametrize(
    "kind", ["ServiceAccount", "PersistentVolumeClaim", "LocalQueue", "ClusterQueue", "ResourceFlavor"]
)
def test_an_object_that_nobody_creates_is_found(kind: str) -> None:
    assert {found for found, _ in missing([one for one in objects() if one["kind"] != kind])} == {kind, "Secret"}


def test_a_reference_of_another_kind_is_found() -> None:
    made = objects()
    next(pods(made))["containers"][0]["env"] = [
        {"name": "A", "valueFrom": {"secretKeyRef": {"name": "own", "key": "k"}}}
    ]
    assert len(missing(made)) == 2


def test_secrets_are_optional_and_the_documentation_creates_them() -> None:
    """Keys of the store are not in a file: pods start without their secret, too."""
    assert all(source["secretRef"]["optional"] for one in containers() for source in one.get("envFrom", ()))
    with_store = {one["name"] for one in containers() if "envFrom" in one}
    assert with_store == {"ray-head", "ray-worker", "own-data"}
    wanted = missing(objects(optional=True))
    assert wanted == {("Secret", "inpaint-sweeps-store"), ("Secret", "inpaint-sweeps-registry")}
    commands = DOCS.read_text(encoding="utf-8")
    assert {name for _, name in wanted if not re.search(rf"kubectl create secret \S+ {name}\b", commands)} == set()


def containers() -> Iterator[dict[str, Any]]:
    for pod in pods(objects()):
        yield from pod["containers"]


def test_pods_are_admitted_where_pod_security_is_restricted() -> None:
    """Also the container and the pod that KubeRay adds, whose own definitions have no security context."""
    for pod in pods(objects()):
        context = pod["securityContext"]
        assert (context["runAsNonRoot"], context["seccompProfile"]["type"]) == (True, "RuntimeDefault")
        assert pod["serviceAccountName"] == "inpaint-sweeps", "which may have a secret of a registry"
    kinds = {one["kind"]: one["spec"] for one in objects() if one["kind"] in ("RayCluster", "RayJob")}
    autoscaler = kinds["RayCluster"]["autoscalerOptions"]
    assert not kinds["RayJob"]["rayClusterSpec"].get("enableInTreeAutoscaling")
    for one in (*containers(), autoscaler):
        assert one["securityContext"] == {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    (submitter,) = kinds["RayJob"]["submitterPodTemplate"]["spec"]["containers"]
    assert "command" not in submitter, "KubeRay adds it only if there is none"
    assert submitter["image"] == next(one["image"] for one in containers() if one["name"] == "ray-head")


def test_every_pod_mounts_the_data_that_it_names() -> None:
    found = list(pods(objects()))
    assert len(found) == 6
    found = [pod for pod in found if pod["containers"][0]["name"] != "ray-job-submitter"]
    assert len(found) == 5
    for pod in found:
        volumes = {volume["name"] for volume in pod["volumes"]}
        for container in pod["containers"]:
            mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
            assert set(mounts) <= volumes
            assert mounts["data"] == "/data"
            if container["name"].startswith("ray-"):
                assert {"name": "SWEEPS_DATA", "value": "/data"} in container["env"]


def _number(text: str) -> float:
    """A number of Kubernetes: CPUs, GPUs, or memory in GiB."""
    units = {"Gi": 1.0, "Mi": 1 / 1024, "m": 1 / 1000}
    unit = next((unit for unit in units if text.endswith(unit)), "")
    return float(text.removesuffix(unit)) * units.get(unit, 1.0)


def test_the_quota_holds_one_job() -> None:
    quotas = {one["kind"]: one for one in objects()}
    (group,) = quotas["ClusterQueue"]["spec"]["resourceGroups"]
    limits = {one["name"]: _number(one["nominalQuota"]) for one in group["flavors"][0]["resources"]}
    spec = quotas["RayJob"]["spec"]["rayClusterSpec"]
    (submitter,) = quotas["RayJob"]["spec"]["submitterPodTemplate"]["spec"]["containers"]
    groups = [(1, spec["headGroupSpec"]), *((one["maxReplicas"], one) for one in spec["workerGroupSpecs"])]
    for name in limits:
        own = _number(submitter["resources"]["requests"].get(name, "0"))
        sizes = [group["template"]["spec"]["containers"][0]["resources"]["requests"] for _, group in groups]
        total = own + sum(count * _number(size.get(name, "0")) for (count, _), size in zip(groups, sizes, strict=True))
        assert total <= limits[name], name


def test_as_many_trials_run_as_there_are_gpus() -> None:
    """More would wait for a GPU for ever, as a RayJob does not grow."""
    job = next(one for one in objects() if one["kind"] == "RayJob")["spec"]
    options = build_parser().parse_args(shlex.split(job["entrypoint"])[1:])
    (workers,) = job["rayClusterSpec"]["workerGroupSpecs"]
    gpus = int(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"])
    assert options.max_concurrent == workers["maxReplicas"] * gpus
    assert "resources.gpus=1" in options.set


PLACEHOLDER = re.compile(r"\b[A-Z]{2,}(?:-[A-Z]+)+\b|\b(?:BUCKET|PREFIX|DATA|REGISTRY|TAG|PROJECT)\b")


@pytest.mark.parametrize("path", sorted(MANIFESTS.glob("*.yaml")), ids=lambda path: path.name)
def test_everything_to_change_is_listed(path: Path) -> None:
    """In the header of the file, and in the table of the documentation."""
    lines = path.read_text(encoding="utf-8").splitlines()
    header = [line for line in lines if line.startswith("#")]
    lines = with_optional("\n".join(lines)).splitlines()
    body = [line.partition("#")[0] for line in lines if not line.startswith("#")]
    used = set(PLACEHOLDER.findall("\n".join(body)))
    listed = set(PLACEHOLDER.findall("\n".join(header)))
    if "the image" in "\n".join(header):
        listed |= {"REGISTRY", "TAG"}
    if "entrypoint" in "\n".join(header):
        listed |= {"BUCKET", "PREFIX"}
    assert used <= listed
    table = DOCS.read_text(encoding="utf-8")
    assert {word for word in used if word not in table} == set()
