"""The built-in kinds that the demo world needs: names and verbs as a real server tells them, small schemas.

A schema here says what changes behaviour: types that are refused, keys by which lists are merged
(`x-kubernetes-list-map-keys`, also for strategic merge patches), defaults that clients rely on.
Fields that are not named are kept. Source: the OpenAPI of Kubernetes 1.36.
"""

from __future__ import annotations

from typing import Any

from sandbox.kube.resources import Resource

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
COUNT: Schema = {"type": "integer", "format": "int32"}
TEXTS: Schema = {"type": "array", "items": TEXT}
LABELS: Schema = {"type": "object", "additionalProperties": TEXT}
QUANTITIES: Schema = {"type": "object", "additionalProperties": {"x-kubernetes-int-or-string": True}}


def fields(required: tuple[str, ...] = (), **properties: Schema) -> Schema:
    """An object that keeps what it does not name."""
    found: Schema = {"type": "object", "properties": properties, "x-kubernetes-preserve-unknown-fields": True}
    return found | ({"required": list(required)} if required else {})


def keyed(item: Schema, *keys: str) -> Schema:
    """A list that is merged by the keys of its items."""
    return {"type": "array", "items": item, "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)}


def merged(item: Schema) -> Schema:
    """A list that is a set."""
    return {"type": "array", "items": item, "x-kubernetes-list-type": "set"}


def defaulted(schema: Schema, value: Any) -> Schema:
    """The same with a default."""
    return schema | {"default": value}


CONDITIONS = keyed(fields(("type", "status"), type=TEXT, status=TEXT), "type")
SELECTOR = fields(matchLabels=LABELS) | {"x-kubernetes-map-type": "atomic"}
PORT = fields(("containerPort",), containerPort=COUNT, protocol=defaulted(TEXT, "TCP"))
CONTAINER = fields(
    ("name",),
    name=TEXT,
    image=TEXT,
    command=TEXTS,
    args=TEXTS,
    env=keyed(fields(("name",), name=TEXT, value=TEXT), "name"),
    ports=keyed(PORT, "containerPort", "protocol"),
    resources=fields(limits=QUANTITIES, requests=QUANTITIES),
    volumeMounts=keyed(fields(("name", "mountPath"), name=TEXT, mountPath=TEXT), "mountPath"),
)
POD_SPEC = fields(
    ("containers",),
    containers=keyed(CONTAINER, "name"),
    initContainers=keyed(CONTAINER, "name"),
    volumes=keyed(fields(("name",), name=TEXT), "name"),
    nodeSelector=LABELS | {"x-kubernetes-map-type": "atomic"},
    nodeName=TEXT,
    serviceAccountName=TEXT,
    restartPolicy=defaulted(TEXT, "Always") | {"enum": ["Always", "OnFailure", "Never"]},
    tolerations={"type": "array", "items": fields(key=TEXT), "x-kubernetes-list-type": "atomic"},
)
TEMPLATE = fields(metadata=fields(labels=LABELS, annotations=LABELS), spec=POD_SPEC)
JOB_TEMPLATE = fields(metadata=fields(labels=LABELS, annotations=LABELS), spec=POD_SPEC)
POD_STATUS = fields(phase=TEXT, conditions=CONDITIONS)
VOLUME_SPEC = fields(
    capacity=QUANTITIES,
    persistentVolumeReclaimPolicy=defaulted(TEXT, "Retain") | {"enum": ["Delete", "Recycle", "Retain"]},
)
SERVICE_PORT = fields(
    ("port",), port=COUNT, name=TEXT, protocol=defaulted(TEXT, "TCP"), targetPort={"x-kubernetes-int-or-string": True}
)
SERVICE = fields(
    ports=keyed(SERVICE_PORT, "port", "protocol"),
    selector=LABELS | {"x-kubernetes-map-type": "atomic"},
    type=defaulted(TEXT, "ClusterIP") | {"enum": ["ClusterIP", "ExternalName", "LoadBalancer", "NodePort"]},
    sessionAffinity=defaulted(TEXT, "None"),
)
NODE_SPEC = fields(
    providerID=TEXT,
    unschedulable={"type": "boolean"},
    taints={"type": "array", "items": fields(("key", "effect"), key=TEXT), "x-kubernetes-list-type": "atomic"},
)
NODE_STATUS = fields(
    conditions=CONDITIONS,
    addresses=keyed(fields(type=TEXT, address=TEXT), "type"),
    capacity=QUANTITIES,
    allocatable=QUANTITIES,
    nodeInfo=fields(kubeletVersion=TEXT),
)
BYTES: Schema = {"type": "object", "additionalProperties": {"type": "string", "format": "byte"}}
RULE = fields(("verbs",), verbs=TEXTS, apiGroups=TEXTS, resources=TEXTS, resourceNames=TEXTS)
RULES: Schema = {"type": "array", "items": RULE, "x-kubernetes-list-type": "atomic"}
SUBJECTS: Schema = {"type": "array", "items": fields(("kind", "name")), "x-kubernetes-list-type": "atomic"}
ROLE_REF = fields(("kind", "name"), apiGroup=defaulted(TEXT, "rbac.authorization.k8s.io"), kind=TEXT, name=TEXT)
ROLE_REF |= {"x-kubernetes-map-type": "atomic"}
REPLICAS = defaulted(COUNT, 1)
WORKLOAD_STATUS = fields(replicas=COUNT, readyReplicas=COUNT, conditions=CONDITIONS)
STATUS = fields(conditions=CONDITIONS)
CRD_NAMES = fields(("plural", "kind"), plural=TEXT, kind=TEXT, singular=TEXT, listKind=TEXT)
CRD_VERSION = fields(("name", "served", "storage"), name=TEXT, served={"type": "boolean"}, storage={"type": "boolean"})
CRD_SPEC = fields(
    ("group", "names", "scope", "versions"),
    group=TEXT,
    names=CRD_NAMES,
    scope=TEXT | {"enum": ["Cluster", "Namespaced"]},
    versions={"type": "array", "items": CRD_VERSION},
    conversion=fields(strategy=defaulted(TEXT, "None")) | {"default": {"strategy": "None"}},
)

SCALE = {
    "specReplicasPath": ".spec.replicas",
    "statusReplicasPath": ".status.replicas",
    "labelSelectorPath": ".spec.selector",
}
CLOSED = ("ConfigMap", "Secret")
"""Kinds whose schema here is whole, so that what it does not name is unknown."""
RBAC = "rbac.authorization.k8s.io"
APPS = "apps"


def _kind(group: str, kind: str, plural: str, schema: Schema | None = None, **more: Any) -> Resource:
    names: dict[str, Any] = {
        "namespaced": True,
        "singular": kind.lower(),
        "list_kind": f"{kind}List",
        "generation": False,
    } | more
    version = names.pop("version", "v1")
    base = fields(("roleRef",) if "roleRef" in (schema or {}) else (), **(schema or {}))
    if kind not in CLOSED:
        base["properties"] = {"spec": fields(), "status": fields(), **base["properties"]}
    else:
        del base["x-kubernetes-preserve-unknown-fields"]
    return Resource(group, version, kind, plural, storage_version=version, schema=base, **names)


def resources() -> list[Resource]:
    """All built-in kinds."""
    return [*_core(), *_workloads(), *_rest()]


def _core() -> list[Resource]:
    log = (("log", "Pod", ("get",)),)
    claim: dict[str, Any] = {"status": True, "short_names": ("pvc",)}
    secret = {"data": BYTES, "stringData": LABELS, "type": defaulted(TEXT, "Opaque"), "immutable": {"type": "boolean"}}
    config = {"data": LABELS, "binaryData": BYTES, "immutable": {"type": "boolean"}}
    return [
        _kind("", "Namespace", "namespaces", namespaced=False, short_names=("ns",), status=True),
        _kind("", "Secret", "secrets", secret),
        _kind("", "ConfigMap", "configmaps", config, short_names=("cm",)),
        _kind("", "Service", "services", {"spec": SERVICE, "status": STATUS}, status=True, short_names=("svc",)),
        _kind(
            "", "Node", "nodes", {"spec": NODE_SPEC, "status": NODE_STATUS},
            namespaced=False, status=True, short_names=("no",),
        ),
        _kind(
            "", "Pod", "pods", {"spec": POD_SPEC, "status": POD_STATUS}, status=True, short_names=("po",),
            categories=("all",), subresources=log,
        ),
        _kind("", "Event", "events", {"involvedObject": fields(), "count": COUNT}, short_names=("ev",)),
        _kind("", "ServiceAccount", "serviceaccounts", short_names=("sa",)),
        _kind("", "PersistentVolumeClaim", "persistentvolumeclaims", {"status": STATUS}, **claim),
        _kind("", "PersistentVolume", "persistentvolumes", {"spec": VOLUME_SPEC, "status": STATUS},
              namespaced=False, status=True, short_names=("pv",)),
    ]  # fmt: skip


def _workloads() -> list[Resource]:
    scaled = fields(replicas=REPLICAS, selector=SELECTOR, template=TEMPLATE)
    daemon = fields(selector=SELECTOR, template=TEMPLATE)
    job = fields(("template",), template=JOB_TEMPLATE, parallelism=REPLICAS, completions=COUNT, backoffLimit=COUNT)
    common: dict[str, Any] = {"status": True, "generation": True, "categories": ("all",)}
    sized = common | {"scale": SCALE}
    status = {"status": WORKLOAD_STATUS}
    return [
        _kind(APPS, "Deployment", "deployments", {"spec": scaled, **status}, short_names=("deploy",), **sized),
        _kind(APPS, "DaemonSet", "daemonsets", {"spec": daemon, **status}, short_names=("ds",), **common),
        _kind(APPS, "ReplicaSet", "replicasets", {"spec": scaled, **status}, short_names=("rs",), **sized),
        _kind("batch", "Job", "jobs", {"spec": job, "status": STATUS}, **common),
    ]  # fmt: skip


def _rest() -> list[Resource]:
    create_only: dict[str, Any] = {"verbs": ("create",), "namespaced": False}
    bound = {"roleRef": ROLE_REF, "subjects": SUBJECTS}
    return [
        _kind("node.k8s.io", "RuntimeClass", "runtimeclasses", {"handler": TEXT}, namespaced=False),
        _kind("scheduling.k8s.io", "PriorityClass", "priorityclasses", {"value": COUNT}, namespaced=False,
              short_names=("pc",)),
        _kind("coordination.k8s.io", "Lease", "leases", {"spec": fields(leaseDurationSeconds=COUNT)}),
        _kind(RBAC, "Role", "roles", {"rules": RULES}),
        _kind(RBAC, "RoleBinding", "rolebindings", bound),
        _kind(RBAC, "ClusterRole", "clusterroles", {"rules": RULES}, namespaced=False),
        _kind(RBAC, "ClusterRoleBinding", "clusterrolebindings", bound, namespaced=False),
        _kind("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", **create_only),
        _kind(
            "apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", {"spec": CRD_SPEC},
            namespaced=False, status=True, generation=True, short_names=("crd", "crds"), categories=("api-extensions",),
        ),
    ]  # fmt: skip
