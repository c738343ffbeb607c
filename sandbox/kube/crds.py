"""The CustomResourceDefinitions of the demo world's management cluster, in two generations.

`current` is the Cluster API with v1beta2 and its AWS provider 2.x, `legacy` the Cluster API 1.2 with provider 1.5, as
the Tanzu releases had it. Names, versions, list keys and what is required are those of the published definitions; what
a cluster does not need is kept as it comes. Conversion is None: one stored object is shown in every version.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sandbox.kube.errors import Obj

Schema = dict[str, Any]

CAPI, CAPA = "cluster.x-k8s.io", "infrastructure.cluster.x-k8s.io"
OPEN: Schema = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
TEXT: Schema = {"type": "string"}
NAME: Schema = {"type": "string", "minLength": 1, "maxLength": 253}
SHORT: Schema = {"type": "string", "minLength": 1, "maxLength": 63}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "format": "int32"}
SECONDS: Schema = COUNT | {"minimum": 0}
PORT: Schema = COUNT | {"minimum": 1, "maximum": 65535}
AMOUNT: Schema = {"x-kubernetes-int-or-string": True, "anyOf": [{"type": "integer"}, {"type": "string"}]}
TEXTS: Schema = {"type": "array", "items": TEXT, "x-kubernetes-list-type": "atomic"}
MAP: Schema = {"type": "object", "additionalProperties": TEXT}
ANY: Schema = {"x-kubernetes-preserve-unknown-fields": True}


def closed(*required: str, **properties: Schema) -> Schema:
    """An object that loses what it does not name."""
    found: Schema = {"type": "object", "properties": properties}
    return found | ({"required": list(required)} if required else {})


def kept(*required: str, **properties: Schema) -> Schema:
    """An object that keeps what it does not name."""
    return closed(*required, **properties) | {"x-kubernetes-preserve-unknown-fields": True}


def filled(schema: Schema) -> Schema:
    """v1beta2 refuses empty objects, so that nothing means the same as nothing said."""
    return schema | {"minProperties": 1}


def items(schema: Schema, *keys: str) -> Schema:
    """A list; merged by keys where there are some, else replaced as a whole."""
    found: Schema = {"type": "array", "items": schema}
    return found | ({"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": list(keys)} if keys else {})


def choice(*values: str, default: str = "") -> Schema:
    """One of these words."""
    return TEXT | {"enum": list(values)} | ({"default": default} if default else {})


OLD_REF = closed(
    **dict.fromkeys(["apiVersion", "fieldPath", "kind", "name", "namespace", "resourceVersion", "uid"], TEXT)
)
OLD_REF |= {"x-kubernetes-map-type": "atomic"}
NEW_REF = closed("apiGroup", "kind", "name", apiGroup=NAME, kind=SHORT, name=NAME)
SELECTOR = kept(matchLabels=MAP) | {"x-kubernetes-map-type": "atomic"}
META = closed(labels=MAP, annotations=MAP)
ARGUMENTS = items(closed("name", "value", name=NAME, value=TEXT), "name", "value")
CIDRS = closed("cidrBlocks", cidrBlocks=TEXTS)
NETWORK = closed(apiServerPort=COUNT, pods=CIDRS, services=CIDRS, serviceDomain=TEXT)
VARIABLES = items(closed("name", "value", name=NAME, value=ANY, definitionFrom=TEXT))
LAUNCH = choice("RollingUpdate", "OnDelete")


def _topology(new: bool) -> Schema:
    pool = kept("class", "name", **{"class": NAME, "name": NAME, "replicas": COUNT, "failureDomain": TEXT})
    keys = ("name",) if new else ()
    workers = kept(machineDeployments=items(pool, *keys))
    variables = VARIABLES | items(VARIABLES["items"], *keys)
    common = {"version": NAME, "controlPlane": kept(replicas=COUNT), "workers": workers, "variables": variables}
    if new:
        return closed("classRef", "version", classRef=closed("name", name=NAME, namespace=NAME), **common)
    return closed("class", "version", **{"class": NAME, "classNamespace": NAME, "rolloutAfter": TEXT}, **common)


def _cluster(version: str) -> Schema:
    new = version == "v1beta2"
    ref, endpoint = (NEW_REF, closed(host=NAME, port=PORT)) if new else (OLD_REF, closed(host=TEXT, port=COUNT))
    network = filled(NETWORK) if new else NETWORK
    spec = closed(
        clusterNetwork=network, controlPlaneEndpoint=filled(endpoint) if new else endpoint, controlPlaneRef=ref,
        infrastructureRef=ref, paused=FLAG, topology=_topology(new), availabilityGates=items(OPEN, "conditionType"),
    )  # fmt: skip
    return filled(spec) if new else spec


def _machine(version: str) -> Schema:
    new = version == "v1beta2"
    ref = NEW_REF if new else OLD_REF
    timeouts = "nodeDrainTimeout", "nodeVolumeDetachTimeout", "nodeDeletionTimeout"
    more: Schema = {"deletion": filled(kept()), "minReadySeconds": SECONDS} if new else dict.fromkeys(timeouts, TEXT)
    return closed(
        "bootstrap", "clusterName", "infrastructureRef", bootstrap=closed(configRef=ref, dataSecretName=TEXT),
        clusterName=SHORT, failureDomain=TEXT, infrastructureRef=ref, providerID=TEXT, version=TEXT, **more,
    )  # fmt: skip


def _pool(version: str, *, deployment: bool) -> Schema:
    """MachineDeployment and MachineSet."""
    new, more = version == "v1beta2", {}
    step = closed(maxSurge=AMOUNT, maxUnavailable=AMOUNT)
    if new:
        strategy = closed("type", type=LAUNCH, rollingUpdate=step)
        rollout = filled(closed(after=TEXT, strategy=strategy))
        more = {"deletion": filled(closed(order=choice("Random", "Newest", "Oldest")))}
        more |= {"rollout": rollout, "remediation": kept()} if deployment else {}
    elif deployment:
        step["properties"] = step["properties"] | {"deletePolicy": TEXT}
        more = {"strategy": closed(type=LAUNCH, rollingUpdate=step), "rolloutAfter": TEXT}
        more |= {"revisionHistoryLimit": COUNT, "progressDeadlineSeconds": COUNT, "minReadySeconds": COUNT}
    else:
        more = {"deletePolicy": TEXT, "minReadySeconds": COUNT}
    template = closed(*(["spec"] if new else []), metadata=META, spec=_machine(version))
    required = ("clusterName", "selector", "template")
    common = {"clusterName": SHORT, "replicas": COUNT, "selector": SELECTOR, "paused": FLAG, "machineNaming": kept()}
    return closed(*required, **common, **more, template=template)


def _health(version: str) -> Schema:
    if version == "v1beta2":
        node = closed("type", "status", "timeoutSeconds", type=NAME, status=NAME, timeoutSeconds=SECONDS)
        checks = closed(
            nodeStartupTimeoutSeconds=SECONDS,
            unhealthyNodeConditions=items(node),
            unhealthyMachineConditions=items(node),
        )
        trigger = filled(closed(unhealthyLessThanOrEqualTo=AMOUNT, unhealthyInRange=TEXT))
        remediation = filled(closed(triggerIf=trigger, templateRef=kept()))
        more: Schema = {"checks": filled(checks), "remediation": remediation}
        return closed("clusterName", "selector", clusterName=SHORT, selector=SELECTOR, **more)
    condition = closed("type", "status", "timeout", type=NAME, status=NAME, timeout=TEXT)
    more = {"maxUnhealthy": AMOUNT, "nodeStartupTimeout": TEXT, "unhealthyRange": TEXT, "remediationTemplate": OLD_REF}
    more |= {"unhealthyConditions": items(condition)}
    return closed("clusterName", "selector", clusterName=SHORT, selector=SELECTOR, **more)


def _kubeadm(version: str) -> Schema:
    new = version == "v1beta2"
    arguments = ARGUMENTS if new else MAP
    component = kept(extraArgs=arguments)
    node = kept(name=TEXT, kubeletExtraArgs=arguments, taints={"type": "array", "items": OPEN})
    configuration = kept(apiServer=component, controllerManager=component, scheduler=component)
    if new:
        del configuration["x-kubernetes-preserve-unknown-fields"]
        configuration["properties"] |= dict.fromkeys(("dns", "etcd", "featureGates"), OPEN)
        configuration["properties"] |= dict.fromkeys(
            ("imageRepository", "controlPlaneEndpoint", "certificatesDir"), TEXT
        )
    spec = kept(
        clusterConfiguration=configuration, initConfiguration=kept(nodeRegistration=node),
        joinConfiguration=kept(nodeRegistration=node),
    )  # fmt: skip
    return filled(spec) if new else spec


def _control_plane(version: str) -> Schema:
    common = {"kubeadmConfigSpec": _kubeadm(version), "replicas": COUNT, "version": TEXT}
    if version == "v1beta2":
        machine = closed("infrastructureRef", infrastructureRef=NEW_REF, deletion=kept(), readinessGates=items(OPEN))
        template = closed("spec", metadata=META, spec=machine)
        more = {"rollout": kept(), "remediation": kept(), "machineNaming": kept()}
        return closed("machineTemplate", "version", machineTemplate=template, **common, **more)
    if version == "v1alpha3":
        return kept("infrastructureTemplate", "version", "kubeadmConfigSpec", infrastructureTemplate=OLD_REF, **common)
    template = closed("infrastructureRef", metadata=META, infrastructureRef=OLD_REF, nodeDrainTimeout=TEXT)
    more = {"rolloutAfter": TEXT, "rolloutStrategy": kept(), "rolloutBefore": kept(), "remediationStrategy": kept()}
    return closed("machineTemplate", "version", "kubeadmConfigSpec", machineTemplate=template, **common, **more)


def _config_template(version: str) -> Schema:
    return closed("template", template=kept(metadata=META, spec=_kubeadm(version)))


IDENTITY_KINDS = choice("AWSClusterControllerIdentity", "AWSClusterRoleIdentity", "AWSClusterStaticIdentity")
IDENTITY_REF = closed("kind", "name", kind=IDENTITY_KINDS, name=NAME)
PLACES = closed(list={"type": "array", "nullable": True, "items": TEXT}, selector=SELECTOR) | {"nullable": True}


def _aws_cluster(version: str) -> Schema:
    new = version == "v1beta2"
    subnet = kept(*(["id"] if new else []), id=TEXT, availabilityZone=TEXT, cidrBlock=TEXT, isPublic=FLAG, tags=MAP)
    limits = {"availabilityZoneUsageLimit": COUNT | {"default": 3, "minimum": 1}}
    limits |= {"availabilityZoneSelection": choice("Ordered", "Random", default="Ordered")}
    vpc = kept(id=TEXT, cidrBlock=TEXT, tags=MAP, **limits)
    network = kept(vpc=vpc, subnets=items(subnet, *(["id"] if new else [])), securityGroupOverrides=MAP)
    kinds: Schema = {"loadBalancerType": choice("classic", "elb", "alb", "nlb", "disabled", default="classic")}
    kinds |= {"healthCheckProtocol": choice("TCP", "SSL", "HTTP", "HTTPS", "TLS", "UDP")}
    balancer = kept(scheme=choice("internet-facing", "internal", default="internet-facing"), **(kinds if new else {}))
    endpoint = closed(host=TEXT, port=COUNT) if new else closed("host", "port", host=TEXT, port=COUNT)
    place = "networkSpec" if version == "v1alpha3" else "network"
    return closed(
        region=TEXT, partition=TEXT, sshKeyName=TEXT, identityRef=IDENTITY_REF, controlPlaneEndpoint=endpoint,
        controlPlaneLoadBalancer=balancer, bastion=kept(enabled=FLAG), additionalTags=MAP, s3Bucket=kept("name"),
        imageLookupFormat=TEXT, imageLookupOrg=TEXT, imageLookupBaseOS=TEXT, **{place: network},
    )  # fmt: skip


def _aws_machine(_version: str) -> Schema:
    volume = kept("size", size={"type": "integer", "format": "int64", "minimum": 8}, type=TEXT, encrypted=FLAG)
    return kept(
        "instanceType", instanceType=TEXT | {"minLength": 2}, iamInstanceProfile=TEXT, sshKeyName=TEXT, publicIP=FLAG,
        ami=kept(id=TEXT), rootVolume=volume, additionalTags=MAP, providerID=TEXT, instanceID=TEXT,
    )  # fmt: skip


def _aws_template(version: str) -> Schema:
    return closed("template", template=closed("spec", metadata=META, spec=_aws_machine(version)))


def _role_identity(_version: str) -> Schema:
    texts = dict.fromkeys(("roleARN", "externalID", "sessionName", "inlinePolicy"), TEXT)
    lasting = {"durationSeconds": COUNT | {"minimum": 900, "maximum": 43200}, "policyARNs": TEXTS}
    return closed("roleARN", **texts, **lasting, allowedNamespaces=PLACES, sourceIdentityRef=IDENTITY_REF)


def _static_identity(_version: str) -> Schema:
    return closed("secretRef", secretRef=TEXT, allowedNamespaces=PLACES)


def _controller_identity(_version: str) -> Schema:
    return closed(allowedNamespaces=PLACES)


def _resource_set(_version: str) -> Schema:
    reference = closed("kind", "name", kind=choice("Secret", "ConfigMap"), name=NAME)
    strategy = choice("ApplyOnce", "Reconcile")
    return closed("clusterSelector", clusterSelector=SELECTOR, resources=items(reference), strategy=strategy)


def _open(_version: str) -> Schema:
    return OPEN


def _machine_set(version: str) -> Schema:
    return _pool(version, deployment=False)


def _deployment(version: str) -> Schema:
    return _pool(version, deployment=True)


SCHEMAS = {
    "Cluster": _cluster, "Machine": _machine, "MachineSet": _machine_set, "MachineDeployment": _deployment,
    "MachineHealthCheck": _health, "ClusterClass": _open, "KubeadmConfig": _kubeadm, "AWSClusterTemplate": _open,
    "KubeadmConfigTemplate": _config_template, "KubeadmControlPlane": _control_plane, "AWSCluster": _aws_cluster,
    "KubeadmControlPlaneTemplate": _open, "AWSMachine": _aws_machine, "AWSMachineTemplate": _aws_template,
    "AWSClusterRoleIdentity": _role_identity, "AWSClusterStaticIdentity": _static_identity,
    "AWSClusterControllerIdentity": _controller_identity, "ClusterResourceSet": _resource_set,
    "ClusterResourceSetBinding": _open,
}  # fmt: skip


@dataclass(frozen=True)
class Row:
    """One definition. `old` are its versions in the legacy generation, `columns` name:path pairs, and `bare` says
    which version or generation has no subresources.
    """

    group: str
    kind: str
    plural: str
    short: str = ""
    subresources: str = "status"
    cluster_wide: bool = False
    old: str = "v1alpha3 v1alpha4 v1beta1"
    columns: str = ""
    bare: str = ""

    def versions(self, generation: str) -> list[str]:
        """The last one is stored."""
        if generation == "legacy":
            return self.old.split()
        return ["v1beta2"] if self.group == CAPA else ["v1beta1", "v1beta2"]


PHASE, READY = "Phase:.status.phase", "Ready:.status.ready"
COUNTS = "Desired:.spec.replicas Replicas:.status.replicas Ready:.status.readyReplicas"
OWNER = "Cluster:.spec.clusterName"
LABELLED = r"Cluster:.metadata.labels.cluster\.x-k8s\.io/cluster-name"
VERSIONED = "Age:.metadata.creationTimestamp Version:.spec.version"
POOLED = "Age:.metadata.creationTimestamp Version:.spec.template.spec.version"
AGE = "Age:.metadata.creationTimestamp"
SCALED = "scale status"
NEWER = "v1alpha4 v1beta1"
ROWS = (
    Row(CAPI, "Cluster", "clusters", "cl", columns=f"{PHASE} {AGE} Version:.spec.topology.version"),
    Row(CAPI, "ClusterClass", "clusterclasses", "cc", old=NEWER, columns=AGE, bare="legacy"),
    Row(CAPI, "MachineDeployment", "machinedeployments", "md", SCALED, columns=f"{OWNER} {COUNTS} {PHASE} {POOLED}"),
    Row(CAPI, "MachineSet", "machinesets", "ms", SCALED, columns=f"{OWNER} {COUNTS} {POOLED}"),
    Row(CAPI, "Machine", "machines", "ma", columns=f"{OWNER} NodeName:.status.nodeRef.name {PHASE} {VERSIONED}"),
    Row(CAPI, "MachineHealthCheck", "machinehealthchecks", "mhc mhcs", columns=f"{OWNER} {AGE}"),
    Row(f"bootstrap.{CAPI}", "KubeadmConfig", "kubeadmconfigs", columns=f"{LABELLED} {AGE}"),
    Row(f"bootstrap.{CAPI}", "KubeadmConfigTemplate", "kubeadmconfigtemplates", subresources="", columns=AGE),
    Row(
        f"controlplane.{CAPI}", "KubeadmControlPlane", "kubeadmcontrolplanes", "kcp", SCALED,
        columns=f"{LABELLED} {COUNTS} {VERSIONED}",
    ),
    Row(f"controlplane.{CAPI}", "KubeadmControlPlaneTemplate", "kubeadmcontrolplanetemplates", "", "", old=NEWER),
    Row(CAPA, "AWSCluster", "awsclusters", "awsc", columns=f"{LABELLED} {READY} VPC:.spec.network.vpc.id"),
    Row(CAPA, "AWSClusterTemplate", "awsclustertemplates", "awsct", "", old=NEWER, columns=AGE),
    Row(CAPA, "AWSMachine", "awsmachines", "awsm", columns=f"{LABELLED} State:.status.instanceState {READY}"),
    Row(CAPA, "AWSMachineTemplate", "awsmachinetemplates", "awsmt", bare="legacy"),
    Row(CAPA, "AWSClusterRoleIdentity", "awsclusterroleidentities", "awsri", "", True),
    Row(CAPA, "AWSClusterStaticIdentity", "awsclusterstaticidentities", "awssi", "", True),
    Row(CAPA, "AWSClusterControllerIdentity", "awsclustercontrolleridentities", "awsci", "", True),
    Row(f"addons.{CAPI}", "ClusterResourceSet", "clusterresourcesets", columns=AGE),
    Row(f"addons.{CAPI}", "ClusterResourceSetBinding", "clusterresourcesetbindings", columns=AGE, bare="v1beta2"),
)  # fmt: skip


def _column(text: str) -> Obj:
    name, _, path = text.partition(":")
    kind = "date" if name == "Age" else "integer" if "eplicas" in path else "string"
    return {"name": name, "jsonPath": path, "type": kind}


def _versions(row: Row, generation: str) -> Iterator[Obj]:
    *older, newest = row.versions(generation)
    scale = {"specReplicasPath": ".spec.replicas", "statusReplicasPath": ".status.replicas"}
    scale |= {"labelSelectorPath": ".status.selector"}
    for version in (*older, newest):
        spec = SCHEMAS[row.kind](version)
        if generation == "legacy" and row.kind in ("MachineDeployment", "MachineSet"):
            spec["properties"]["replicas"] = COUNT | {"default": 1}
        old = generation == "current" and version != newest
        required = ["spec"] if version == "v1beta2" and row.group == CAPI else []
        root = closed(*required, spec=spec, status=OPEN)
        names = () if row.bare in (version, generation) else row.subresources.split()
        below = {name: scale if name == "scale" else {} for name in names}
        made: Obj = {"name": version, "served": True, "storage": version == newest, "subresources": below}
        made |= {"schema": {"openAPIV3Schema": root}}
        made["additionalPrinterColumns"] = [_column(text) for text in row.columns.split()]
        yield made | ({"deprecated": True} if old else {})


def crds(generation: str = "current") -> list[Obj]:
    """The definitions of `current` or `legacy`, ready to be created."""
    if generation not in ("current", "legacy"):
        raise ValueError(f"no generation of definitions is called {generation!r}")
    made = []
    for row in ROWS:
        names: Obj = {
            "kind": row.kind,
            "listKind": f"{row.kind}List",
            "plural": row.plural,
            "singular": row.kind.lower(),
        }
        names |= {"categories": ["cluster-api"]} | ({"shortNames": row.short.split()} if row.short else {})
        spec: Obj = {"group": row.group, "names": names, "scope": "Cluster" if row.cluster_wide else "Namespaced"}
        spec |= {"versions": list(_versions(row, generation)), "conversion": {"strategy": "None"}}
        meta = {"name": f"{row.plural}.{row.group}"}
        base = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": meta}
        made.append(base | {"spec": spec})
    return made
