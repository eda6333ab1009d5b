"""What a pod is told, as Kubernetes reads it. No cluster: the manifest is compared with the fields of the API."""

import importlib.util
from pathlib import Path

import pytest
import yaml

from dags.errors import ScheduleError
from dags.pods import CONTAINER, executor_config, pod

CHOSEN = {
    "image": "registry.plant.example/tidemill:1",
    "cpu": "2",
    "memory": "6Gi",
    "service_account": "tidemill-train",
    "node_selector": {"pool": "training"},
}
TEMPLATE = Path(__file__).resolve().parents[3] / "infra" / "kubernetes" / "pod-template.yaml"


def test_what_was_chosen_is_in_the_pod():
    made = pod("train", CHOSEN)
    assert made["spec"] == {
        "containers": [
            {
                "name": "base",
                "image": "registry.plant.example/tidemill:1",
                "resources": {"requests": {"cpu": "2", "memory": "6Gi"}, "limits": {"memory": "6Gi"}},
            }
        ],
        "serviceAccountName": "tidemill-train",
        "nodeSelector": {"pool": "training"},
    }
    assert made["metadata"]["labels"]["tidemill/dag"] == "train"


def test_without_a_choice_nothing_is_said():
    assert executor_config("ingest", {"train": CHOSEN}) == {}


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        ({"memroy": "6Gi"}, "did you mean memory"),
        ({"cpu": 2}, "cpu is 2"),
        ({"node_selector": {"pool": 1}}, "it must be labels"),
        ({"image": ""}, "it must be a text"),
    ],
)
def test_what_is_no_choice_is_refused(chosen, said):
    with pytest.raises(ScheduleError, match=said):
        pod("train", chosen)


def test_without_the_provider_it_says_what_to_install():
    if importlib.util.find_spec("kubernetes"):
        pytest.skip("the client of Kubernetes is installed")
    with pytest.raises(ScheduleError, match=r"tidemill\[kubernetes\]"):
        executor_config("train", {"train": CHOSEN})


def test_with_the_client_the_pod_is_one_of_its_own_kind():
    client = pytest.importorskip("kubernetes.client", reason="the Kubernetes provider takes 130 MB: install it to see")
    made = executor_config("train", {"train": CHOSEN})["pod_override"]
    assert isinstance(made, client.V1Pod)
    (container,) = made.spec.containers
    assert (container.name, container.resources.limits) == ("base", {"memory": "6Gi"})
    assert made.spec.node_selector == {"pool": "training"}
    assert client.ApiClient().sanitize_for_serialization(made) == pod("train", CHOSEN)


def test_the_template_for_workers_runs_the_container_that_is_overridden_and_nobody_as_root():
    template = yaml.safe_load(TEMPLATE.read_text())
    (container,) = template["spec"]["containers"]
    assert (template["kind"], container["name"]) == ("Pod", CONTAINER)
    assert template["spec"]["securityContext"]["runAsNonRoot"] is True
    assert template["spec"]["restartPolicy"] == "Never"
    assert template["spec"]["serviceAccountName"]
