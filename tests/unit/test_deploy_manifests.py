"""What installs the bot in a cluster: the rights that it has, and the container that it runs in. As text; the API
server's word on the same is in tests/contract/test_deploy.py."""

from __future__ import annotations

import re
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from bot.config import load
from handlers.contract import Kind
from handlers.controllers import CREDENTIALS
from handlers.controllers import NAMESPACE as PROVIDER
from handlers.kinds import SECRET
from handlers.kube_needs import NEEDS

DEPLOY = Path(str(resources.files("manifests"))) / "deploy"
BASE = DEPLOY / "base"
ROOT = DEPLOY.parents[1]
FILES = sorted(DEPLOY.rglob("*.yaml"))


def items(file: str) -> list[dict[str, Any]]:
    return [item for item in yaml.safe_load_all((BASE / file).read_text(encoding="utf-8")) if item]


def granted(rules: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Verb, group and resource of each right, those that are bound to a name left out."""
    return [
        (verb, group, resource)
        for rule in rules
        if "resourceNames" not in rule
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    ]


def needed(namespace: str, *without: Kind) -> set[tuple[str, str, str]]:
    return {
        (verb, need.kind.group, need.kind.plural)
        for need in NEEDS
        if need.namespace == namespace and need.kind not in without
        for verb in need.verbs
    }


# -- rights ------------------------------------------------------------------------------------------------------


def test_the_bot_may_do_in_the_cluster_what_its_operations_need_and_no_more() -> None:
    rights = granted(items("cluster-role.yaml")[0]["rules"])
    assert len(rights) == len(set(rights))
    assert set(rights) == needed("", SECRET)


def test_reading_kubeconfigs_is_a_right_of_its_own() -> None:
    assert granted(items("kubeconfigs.yaml")[0]["rules"]) == [("get", "", "secrets")]
    assert [need.verbs for need in NEEDS if need.kind == SECRET] == [("get",)]


def test_beside_the_provider_it_may_look_for_whom_the_provider_is() -> None:
    role, binding = items("provider-role.yaml")
    assert {item["metadata"]["namespace"] for item in (role, binding)} == {PROVIDER}
    assert set(granted(role["rules"])) == needed(PROVIDER)
    (named,) = [rule for rule in role["rules"] if "resourceNames" in rule]
    assert (named["resources"], named["resourceNames"], named["verbs"]) == (["secrets"], [CREDENTIALS], ["get"])


@pytest.mark.parametrize("file", ["cluster-role.yaml", "kubeconfigs.yaml", "provider-role.yaml"])
def test_no_right_is_a_wildcard_or_leads_to_more_rights(file: str) -> None:
    for verb, group, resource in granted(items(file)[0]["rules"]):
        assert "*" not in f"{verb}{group}{resource}"
        assert verb not in ("escalate", "bind", "impersonate", "update", "deletecollection")
        assert group != "rbac.authorization.k8s.io"
        assert verb in ("get", "list") or group.endswith("cluster.x-k8s.io")


# -- the container -----------------------------------------------------------------------------------------------


def pod() -> dict[str, Any]:
    found: dict[str, Any] = items("deployment.yaml")[0]["spec"]["template"]["spec"]
    return found


def test_the_container_is_confined() -> None:
    """Beside what the Pod Security Standard `restricted` asks for, which the API server is asked about."""
    (container,) = pod()["containers"]
    security = container["securityContext"]
    assert security["readOnlyRootFilesystem"] is True
    assert security["allowPrivilegeEscalation"] is security["privileged"] is False
    assert security["capabilities"] == {"drop": ["ALL"]}
    assert pod()["securityContext"]["runAsNonRoot"] is True
    assert pod()["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod())
    assert "memory" in container["resources"]["limits"]
    assert all("hostPath" not in volume for volume in pod()["volumes"])


def test_only_the_pod_gets_the_accounts_token() -> None:
    assert items("service-account.yaml")[0]["automountServiceAccountToken"] is False
    assert pod()["automountServiceAccountToken"] is True


def test_secrets_are_files_and_none_is_here() -> None:
    (container,) = pod()["containers"]
    names = [entry["name"] for entry in container["env"]]
    assert {"SLACK_BOT_TOKEN_FILE", "SLACK_APP_TOKEN_FILE", "TKGBOT_AUDIT_KEY_FILE"} <= set(names)
    assert all("valueFrom" not in entry for entry in container["env"])
    assert "envFrom" not in container
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES)
    assert not re.search(r"xox[abp]-[0-9A-Za-z]|xapp-[0-9]|AKIA[0-9A-Z]{16}|PRIVATE KEY", text)


def test_every_file_of_a_secret_stands_in_the_example() -> None:
    (example,) = items("secret.example.yaml")
    text = "\n".join(file.read_text(encoding="utf-8") for file in FILES if file.parent != BASE / "secret.example.yaml")
    used = set(re.findall(r"/run/secrets/tkgbot/([a-z-]+)", text))
    assert used == set(example["stringData"])


def test_the_example_of_a_secret_is_in_no_kustomization() -> None:
    for file in DEPLOY.rglob("kustomization.yaml"):
        listed = yaml.safe_load(file.read_text(encoding="utf-8"))
        assert "secret.example.yaml" not in str(listed), file


def test_the_image_runs_as_the_user_whom_the_pod_names() -> None:
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    security = pod()["securityContext"]
    assert re.findall(r"^USER (.*)$", text, re.MULTILINE) == [f"{security['runAsUser']}:{security['runAsGroup']}"]
    assert 'ENTRYPOINT ["tkgbot"]' in text
    assert not re.search(r"^HEALTHCHECK", text, re.MULTILINE)


def test_the_settings_that_come_with_it_are_good() -> None:
    settings = load(BASE / "tkgbot.yaml")
    assert settings.operations.management_cluster is not None
    assert settings.operations.management_cluster.access == "in-cluster"
    assert all(rule.approvals == 2 for rule in settings.policy if "cluster delete" in rule.operations)
