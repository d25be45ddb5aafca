"""The manifests are valid: by Ray's own schema, and with fields that exist in KubeRay 1.7."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import ray
import yaml
from ray.autoscaler._private.util import prepare_config
from ray.autoscaler.sdk import get_docker_host_mount_location

from cluster.connection import gpu_driver
from sweeps.cli.main import build_parser

ROOT = Path(__file__).resolve().parents[3]
MANIFESTS = ROOT / "cluster" / "manifests"
ANY = "any text"

NAMED: dict[str, Any] = {"name": str}
SIZES = {"cpu": str, "memory": str, "nvidia.com/gpu": str}
RESTRICTED_CONTAINER = {"allowPrivilegeEscalation": bool, "capabilities": {"drop": [str]}}
CONTAINER = {
    **NAMED,
    "image": str,
    "env": [{**NAMED, "value": str}],
    "envFrom": [{"secretRef": {**NAMED, "optional": bool}}],
    "resources": {"requests": SIZES, "limits": SIZES},
    "securityContext": RESTRICTED_CONTAINER,
    "volumeMounts": [{**NAMED, "mountPath": str, "readOnly": bool}],
}
POD = {
    "spec": {
        "serviceAccountName": str,
        "restartPolicy": str,
        "terminationGracePeriodSeconds": int,
        "tolerations": [{"key": str, "operator": str, "effect": str}],
        "securityContext": {
            "runAsNonRoot": bool,
            "runAsUser": int,
            "fsGroup": int,
            "seccompProfile": {"type": str},
        },
        "containers": [CONTAINER],
        "volumes": [
            {
                **NAMED,
                "emptyDir": {"medium": str, "sizeLimit": str},
                "persistentVolumeClaim": {"claimName": str, "readOnly": bool},
            }
        ],
    }
}
CLUSTER_SPEC = {
    "rayVersion": str,
    "authOptions": {"mode": str},
    "enableInTreeAutoscaling": bool,
    "autoscalerOptions": {
        "version": str,
        "upscalingMode": str,
        "idleTimeoutSeconds": int,
        "securityContext": RESTRICTED_CONTAINER,
    },
    "headGroupSpec": {"serviceType": str, "rayStartParams": {ANY: str}, "template": POD},
    "workerGroupSpecs": [
        {
            "groupName": str,
            "replicas": int,
            "minReplicas": int,
            "maxReplicas": int,
            "rayStartParams": {ANY: str},
            "template": POD,
        }
    ],
}
OBJECT: dict[str, Any] = {"apiVersion": str, "kind": str, "metadata": {**NAMED, "labels": {ANY: str}}}
KUBERAY = {
    "raycluster.yaml": {**OBJECT, "spec": CLUSTER_SPEC},
    "rayjob.yaml": {
        **OBJECT,
        "spec": {
            "entrypoint": str,
            "suspend": bool,
            "backoffLimit": int,
            "shutdownAfterJobFinishes": bool,
            "ttlSecondsAfterFinished": int,
            "submitterPodTemplate": POD,
            "rayClusterSpec": CLUSTER_SPEC,
        },
    },
}
"""Fields that exist in the custom resources of KubeRay 1.7.0 (ray-operator/config/crd/bases). Both manifests were
validated against the complete definitions when this list was made; look up a field there before adding it here."""


def load(name: str, optional: bool = False) -> dict[str, Any]:
    """A manifest; with the lines that are optional if `optional`."""
    text = (MANIFESTS / name).read_text(encoding="utf-8")
    loaded: dict[str, Any] = yaml.safe_load(with_optional(text) if optional else text)
    return loaded


def with_optional(text: str) -> str:
    """A manifest after a user has deleted `# optional: ` from every line."""
    return re.sub(r"^( *)# optional: ", r"\1", text, flags=re.MULTILINE)


def misfits(value: Any, form: Any, place: str = "") -> list[str]:
    """The parts of a manifest that do not match the form."""
    if isinstance(form, dict) and isinstance(value, dict):
        found = []
        for name, below in value.items():
            inside = form.get(name, form.get(ANY))
            found += [f"{place}.{name}"] if inside is None else misfits(below, inside, f"{place}.{name}")
        return found
    if isinstance(form, list) and isinstance(value, list):
        return [bad for below in value for bad in misfits(below, form[0], f"{place}[]")]
    return [] if isinstance(form, type) and type(value) is form else [f"{place} = {value!r}"]


@pytest.mark.parametrize("name", KUBERAY)
def test_kuberay_knows_every_field(name: str) -> None:
    assert misfits(load(name), KUBERAY[name]) == []


def test_a_wrong_field_or_type_is_found() -> None:
    manifest = load("raycluster.yaml")
    manifest["spec"]["headGroupSpec"]["template"]["spec"]["contaners"] = []
    manifest["spec"]["workerGroupSpecs"][0]["replicas"] = "1"
    bad = misfits(manifest, KUBERAY["raycluster.yaml"])
    assert bad == [".spec.headGroupSpec.template.spec.contaners", ".spec.workerGroupSpecs[].replicas = '1'"]


@pytest.mark.parametrize("optional", [False, True])
@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_ray_up_accepts_the_file(name: str, optional: bool) -> None:
    schema = json.loads((Path(ray.__file__).parent / "autoscaler" / "ray-schema.json").read_text())
    config = load(name, optional)
    jsonschema.validate(config, schema)
    whole = prepare_config(config)
    commands = [*whole["head_start_ray_commands"], *whole["worker_start_ray_commands"]]
    starts = [command for command in commands if "ray start" in command]
    assert len(starts) == 2
    for start in starts:
        assert start.startswith("ulimit -n 65536; ")
        assert "RAY_AUTH_MODE=token" in start
    assert "--dashboard-host=127.0.0.1" in starts[0]
    types = whole["available_node_types"]
    head = types.pop(whole["head_node_type"])
    assert head["resources"] == {"CPU": 0, "driver": 100}
    assert len(types) >= 3, "spot instances of one type may be used up"
    assert len({json.dumps(one["node_config"], sort_keys=True) for one in types.values()}) == len(types)
    for one in types.values():
        assert "spot" in json.dumps(one["node_config"]).lower()
        assert one["resources"]["GPU"] == 1
        assert (one["min_workers"], one["max_workers"]) == (0, whole["max_workers"])
    for one in (head, *types.values()):
        node = one["node_config"]
        image = node.get("ImageId") or node["disks"][0]["initializeParams"]["sourceImage"]
        assert image, "without one, Ray takes a machine image of 2018"


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_the_containers_of_ray_up_have_gpus_and_data(name: str) -> None:
    config = load(name)
    docker, before = config["docker"], " && ".join(config["initialization_commands"])
    assert {"--volume /data:/data", "--env SWEEPS_DATA=/data"} <= set(docker["run_options"])
    assert docker["worker_run_options"] == ["--gpus all"]
    assert "--gpus all" not in docker["run_options"], "the head has no GPU"
    assert "mkdir -p /data" in before
    assert "//BUCKET/DATA /data" in before


@pytest.mark.parametrize("name", ["aws.yaml", "gcp.yaml"])
def test_the_containers_of_ray_up_get_the_keys_of_the_store(name: str) -> None:
    """Ray copies `file_mounts` to the host before it starts the container; the head copies its own to the workers."""
    config = load(name, optional=True)
    (option,) = (option for option in config["docker"]["run_options"] if option.startswith("--env-file "))
    assert option.split()[1] == f"{get_docker_host_mount_location(config['cluster_name'])}/store.env"
    assert config["file_mounts"]["/store.env"] == "~/store.env"
    (login,) = (line for line in config["initialization_commands"] if "docker" in line)
    assert config["provider"]["region"] in login, "the image is pulled after these commands"
    if name == "aws.yaml":
        assert not any("store.env" in option for option in load(name)["docker"]["run_options"]), "it may not exist"


def test_the_head_has_the_rights_that_rays_autoscaler_uses() -> None:
    """The calls of Ray's provider for EC2, without those of stopped nodes and of an agent of CloudWatch."""
    source = (Path(ray.__file__).parent / "autoscaler" / "_private" / "aws" / "node_provider.py").read_text()
    used = set(re.findall(r"self\.ec2\w*\.(?:meta\.client\.)?(\w+)", source)) - {"meta"}
    rights = {
        "instances": "ec2:DescribeInstances",
        "create_tags": "ec2:CreateTags",
        "create_instances": "ec2:RunInstances",
        "terminate_instances": "ec2:TerminateInstances",
        "describe_images": "ec2:DescribeImages",
    }
    assert used - {"start_instances", "stop_instances"} == set(rights)
    assert load("aws.yaml")["provider"]["cache_stopped_nodes"] is False
    text = (MANIFESTS / "aws.yaml").read_text()
    assert {right for right in [*rights.values(), "iam:PassRole"] if right not in text} == set()


def test_file_mounts_are_below_the_home_of_the_images_user() -> None:
    """`ray up` reads HOME from the environment of the image, and mounts below /root without it."""
    text = (MANIFESTS / "Dockerfile").read_text()
    assert "useradd --create-home --home-dir /opt/ray --uid 1000 ray" in text
    assert "ENV HOME=/opt/ray" in text.splitlines()


def test_the_named_driver_runs_the_locked_torch() -> None:
    locked = re.search(r"^nvidia-cuda-runtime==(\d+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked
    oldest = gpu_driver.OLDEST_DRIVERS[int(locked[1])]
    images = set(re.findall(r"sourceImage: \S+-nvidia-(\d+)", (MANIFESTS / "gcp.yaml").read_text()))
    assert images == {str(oldest)}


@pytest.mark.parametrize("name", ["raycluster.yaml", "rayjob.yaml"])
def test_pods_are_of_the_locked_ray_with_a_token_and_without_rights(name: str) -> None:
    spec = load(name)["spec"]
    spec = spec.get("rayClusterSpec", spec)
    locked = re.search(r"^ray==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert locked
    assert spec["rayVersion"] == locked[1]
    assert spec["authOptions"] == {"mode": "token"}
    head, (worker,) = spec["headGroupSpec"], spec["workerGroupSpecs"]
    assert head["rayStartParams"]["num-cpus"] == "0"
    assert json.loads(json.loads(head["rayStartParams"]["resources"].strip("'"))) == {"driver": 100}
    for group in (head, worker):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False


def test_a_ray_job_continues_its_sweep_when_retried() -> None:
    job = load("rayjob.yaml")
    program, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert program == "sweeps"
    options = build_parser().parse_args(arguments)
    assert (options.address, options.fresh) == ("auto", False)
    assert options.store.startswith("s3://")
    assert (ROOT / options.file).exists()
    assert 0 < job["spec"]["backoffLimit"] <= 3, "each retry is a new cluster of GPUs"
    assert options.failed_trials_exit == 0, "KubeRay retries after every other code, though only failed trials are left"
    assert job["spec"]["suspend"], "Kueue needs a suspended job ..."
    assert job["metadata"]["labels"]["kueue.x-k8s.io/queue-name"], "... and a queue"


def test_the_network_policy_lets_in_ray_and_its_operator_only() -> None:
    policy = load("networkpolicy.yaml")
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    assert set(policy["spec"]) == {"podSelector", "policyTypes", "ingress"}
    sources = [source for rule in policy["spec"]["ingress"] for source in rule["from"]]
    assert all("podSelector" in source and "ipBlock" not in source for source in sources)


def test_the_image_holds_the_packages_and_does_not_run_as_root() -> None:
    lines = (MANIFESTS / "Dockerfile").read_text().splitlines()
    users = [line.split()[1] for line in lines if line.startswith("USER")]
    assert users[-1] == "1000"
    for copied in (line.split()[1:-1] for line in lines if line.startswith("COPY")):
        assert [name for name in copied if not (ROOT / name).exists()] == []
    for package in ("sweeps", "trainables", "cluster", "analysis"):
        assert f"COPY {package} ./{package}" in lines
    (install,) = [line for line in lines if "requirements.lock" in line and line.startswith("RUN")]
    assert "--constraints requirements.lock" in install, "the lock holds the tools of development too"
    assert "dev" not in install


def test_the_runtime_environment_is_one_of_rays() -> None:
    from ray.runtime_env import RuntimeEnv

    assert RuntimeEnv(**load("runtime_env.yaml"))["env_vars"]["SWEEPS_DATA"] == "/data"


@pytest.mark.parametrize("path", sorted(MANIFESTS.iterdir()), ids=lambda path: path.name)
def test_nothing_listens_everywhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert "0.0.0.0" not in text
    assert "hostNetwork" not in text
    assert not re.search(r"RAY_AUTH_TOKEN\s*[:=]", text), "a token in a file"
