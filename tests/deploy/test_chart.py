"""The Helm chart: what it makes is valid, and as narrow as its documentation says."""

import copy
import json
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from freehold.config import load_settings
from tests.deploy.manifests import CUSTOM, manifests, of_kind, pods
from tools.render_chart import CHART, DIGEST, RENDERED, cases, digest, helm, render

CASES = cases()
KEYS = {"groupName", "replicas", "minReplicas", "maxReplicas", "rayStartParams", "template"}
ZONE_LABEL, KIND_LABEL = "freehold-zone", "freehold-device-kind"
"""As `freehold.cluster` reads them of Ray's nodes."""
VERSIONS = ("1.29", "1.37")
"""The oldest Kubernetes that the chart takes, and the newest that schemas are there for."""


def test_what_was_rendered_is_of_this_chart() -> None:
    """The manifests in deploy/rendered are those of the chart as it is: 'python -m tools.render_chart' makes them."""
    assert DIGEST.read_text(encoding="utf-8").strip() == digest()


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES)
def test_helm_makes_what_is_kept(case: str) -> None:
    """Helm itself makes exactly the manifests that are kept."""
    program = helm()
    if program is None:
        pytest.skip("Helm is not there: make helm")
    assert render(case, program) == (RENDERED / f"{case}.yaml").read_text(encoding="utf-8")


@pytest.mark.slow
def test_helm_finds_nothing_to_complain_of() -> None:
    """Helm's own check of the chart passes, and a value that does not exist is refused by name."""
    program = helm()
    if program is None:
        pytest.skip("Helm is not there: make helm")
    done = subprocess.run([program, "lint", "--strict", str(CHART)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    wrong = [program, "template", "x", str(CHART), "--set", "gateway.replica=3"]
    refused = subprocess.run(wrong, capture_output=True, text=True, check=False)
    assert refused.returncode != 0
    assert "'replica' not allowed" in refused.stderr


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", CASES)
def test_every_manifest_is_valid(case: str, version: str) -> None:
    """Kubernetes' own schemas take every manifest of a kind of its own, unknown keys included."""
    own = [each for each in manifests(case) if each["apiVersion"] not in CUSTOM]
    for each in own:
        kubernetes_validate.validate(each, version, strict=True)
    assert {"StatefulSet", "Service", "NetworkPolicy", "PodDisruptionBudget"} <= {each["kind"] for each in own}


@pytest.mark.parametrize("case", [case for case in CASES if case != "gateways"])
def test_the_pods_of_ray_are_valid(case: str) -> None:
    """The pod templates in the RayCluster are pods, and its groups have the keys of KubeRay's ray.io/v1."""
    (cluster,) = of_kind(case, "RayCluster")
    spec = cluster["spec"]
    assert spec.keys() == {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
    assert spec["authOptions"] == {"mode": "token", "secretName": "freehold-ray-token"}
    for group in spec["workerGroupSpecs"]:
        assert group.keys() - {"labels"} == KEYS
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "Pod", **group["template"]}
        kubernetes_validate.validate(pod, VERSIONS[-1], strict=True)


@pytest.mark.parametrize("case", CASES)
def test_no_container_may_more_than_it_must(case: str) -> None:
    """No container is root, gains privileges, has capabilities, writes its root, or has a token of the API."""
    found = dict(pods(case))
    assert found
    for pod in (template["spec"] for template in found.values()):
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == 65532
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            writable = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
            assert writable <= {"/var/lib/freehold", "/var/lib/freehold-fine-tuning", "/tmp", "/dev/shm"}
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]


@pytest.mark.parametrize("case", CASES)
def test_a_gateway_is_probed_and_drained(case: str) -> None:
    """Its start, readiness and life have probes of their own paths, and it has time to let streams end."""
    (gateways,) = of_kind(case, "StatefulSet")
    pod = gateways["spec"]["template"]["spec"]
    gateway = next(container for container in pod["containers"] if container["name"] == "gateway")
    paths = {name: gateway[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/health/live", "readiness": "/health/ready", "liveness": "/health/live"}
    assert pod["terminationGracePeriodSeconds"] > 60
    (claim,) = gateways["spec"]["volumeClaimTemplates"]
    assert claim["metadata"]["name"] == "home"
    assert gateways["spec"]["persistentVolumeClaimRetentionPolicy"] == {"whenDeleted": "Retain", "whenScaled": "Retain"}


@pytest.mark.parametrize("case", CASES)
def test_secrets_come_by_reference(case: str, tmp_path: Path) -> None:
    """The chart makes no secret, and the configuration names files and variables, not what is in them."""
    assert not of_kind(case, "Secret")
    (config,) = of_kind(case, "ConfigMap")
    found = tomllib.loads(config["data"]["freehold.toml"])
    assert found["database"] == {"url": {"file": "/run/secrets/freehold/database"}}
    assert found["encryption"] == {"master_key": {"file": "/run/secrets/freehold/master_key"}}
    (tmp_path / "freehold.toml").write_text(config["data"]["freehold.toml"], encoding="utf-8")
    address = load_settings(tmp_path / "freehold.toml").cluster.address
    assert address == (None if case == "gateways" else "freehold-ray-head-svc:6379")
    (gateways,) = of_kind(case, "StatefulSet")
    volumes = {volume["name"]: volume for volume in gateways["spec"]["template"]["spec"]["volumes"]}
    named = {source["secret"]["name"] for source in volumes["secrets"]["projected"]["sources"]}
    assert named == {"freehold-database", "freehold-master-key"}


@pytest.mark.parametrize("case", CASES)
def test_everything_is_denied_that_is_not_allowed(case: str) -> None:
    """One policy denies all to and from every pod of the release; the others select no pods of anybody else."""
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind(case, "NetworkPolicy")}
    release = {"app.kubernetes.io/name": "freehold", "app.kubernetes.io/instance": "freehold"}
    denied = policies.pop("freehold-deny")
    assert denied == {"podSelector": {"matchLabels": release}, "policyTypes": ["Ingress", "Egress"]}
    assert policies
    for spec in policies.values():
        assert release.items() <= spec["podSelector"]["matchLabels"].items()
    for _, template in pods(case):
        assert release.items() <= template["metadata"]["labels"].items()


def test_narrow_policies_name_who_may_come_and_where_to_go() -> None:
    """Given callers, monitoring and a database, no rule for gateways is open to everybody."""
    policies = {each["metadata"]["name"]: each["spec"] for each in of_kind("everything", "NetworkPolicy")}
    gateway = policies["freehold-gateway"]
    assert all(rule["from"] for rule in gateway["ingress"])
    assert all(rule["to"] for rule in gateway["egress"])


def test_gpus_and_zones_are_the_groups() -> None:
    """A group's GPUs are limits of its container beside its own; zone and kind are the labels by which Ray has them."""
    (cluster,) = of_kind("everything", "RayCluster")
    groups = {group["groupName"]: group for group in cluster["spec"]["workerGroupSpecs"]}
    assert groups["h100-eu"]["labels"] == {ZONE_LABEL: "eu", KIND_LABEL: "H100"}
    assert groups["h100-us"]["labels"] == {ZONE_LABEL: "us"}
    limits = groups["h100-eu"]["template"]["spec"]["containers"][0]["resources"]["limits"]
    assert limits == {"memory": "512Gi", "nvidia.com/gpu": "8"}


@pytest.mark.parametrize(
    ("case", "claim", "mounted"),
    [
        ("default", None, set()),
        ("everything", "freehold-fine-tuning", {"gateway", "h100-eu", "h100-us"}),
        ("gateways", "shared-jobs", {"gateway"}),
    ],
)
def test_jobs_share_a_volume(case: str, claim: str | None, mounted: set[str], tmp_path: Path) -> None:
    """Gateways and workers have the volume under the path that the configuration names, the head has it not."""
    (config,) = of_kind(case, "ConfigMap")
    (tmp_path / "freehold.toml").write_text(config["data"]["freehold.toml"], encoding="utf-8")
    tuning = load_settings(tmp_path / "freehold.toml").fine_tuning
    assert tuning.folder == ("/var/lib/freehold-fine-tuning" if mounted else None)
    assert tuning.max_running_per_project == (2 if case == "everything" else 1)
    found = set()
    for pod, template in pods(case):
        claims = {
            volume["name"]: volume["persistentVolumeClaim"]["claimName"]
            for volume in template["spec"]["volumes"]
            if "persistentVolumeClaim" in volume
        }
        for container in template["spec"]["containers"]:
            for mount in container["volumeMounts"]:
                if mount["mountPath"] == "/var/lib/freehold-fine-tuning":
                    assert claims[mount["name"]] == claim
                    found.add("gateway" if container["name"] == "gateway" else pod)
    assert found == mounted
    made = of_kind(case, "PersistentVolumeClaim")
    assert [each["metadata"]["name"] for each in made] == (["freehold-fine-tuning"] if case == "everything" else [])
    for each in made:
        assert each["spec"]["accessModes"] == ["ReadWriteMany"]
        assert each["metadata"]["annotations"] == {"helm.sh/resource-policy": "keep"}


@pytest.mark.slow
def test_one_table_of_fine_tuning_is_written() -> None:
    """Where the chart writes [fine_tuning], a second one in gateway.config is refused with where its keys go."""
    program = helm()
    if program is None:
        pytest.skip("Helm is not there: make helm")
    argv = [program, "template", "x", str(CHART), "--set", "gateway.config=[fine_tuning]", "--set"]
    alone = subprocess.run([*argv, "fineTuning.sharedVolume=false"], capture_output=True, text=True, check=False)
    assert alone.returncode == 0, alone.stderr
    twice = subprocess.run([*argv, "fineTuning.sharedVolume=true"], capture_output=True, text=True, check=False)
    assert twice.returncode != 0
    assert "from gateway.config to fineTuning.config" in twice.stderr


def _values() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))
    return found


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("gateway", "replicas"), 0),
        (("gateway", "storage", "size"), "much"),
        (("image", "digest"), "latest"),
        (("ray", "version"), "2.40.0"),
        (("ray", "workers", 0, "name"), "GPU"),
        (("networkPolicy", "databasePort"), 0),
        (("secrets", "masterKey"), {"name": "x"}),
        (("ingress", "enabled"), True),
        (("fineTuning",), {"sharedVolume": True, "config": "folder = '/elsewhere'"}),
        (("fineTuning",), {"sharedVolume": True, "config": "threads = 2\n[jobs]"}),
        (("fineTuning",), {"sharedVolume": False, "existingClaim": "shared-jobs"}),
        (("fineTuning", "storage", "size"), "much"),
        (("surprise",), 1),
    ],
)
def test_wrong_values_are_refused(path: tuple[Any, ...], value: Any) -> None:
    """The schema takes the chart's own values and every case, and refuses what would not work."""
    schema = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
    jsonschema.validate(_values(), schema)
    wrong = copy.deepcopy(_values())
    *way, last = path
    place: Any = wrong
    for step in way:
        place = place[step]
    place[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(wrong, schema)
