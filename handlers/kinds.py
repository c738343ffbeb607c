"""The kinds of objects that operations look at and make, with the versions that this code can write.

Versions served by each release of the Cluster API and its AWS provider: CAPI v1beta1 up to 1.14, v1beta2 from 1.11 on;
CAPA v1beta1 up to 2.3, v1beta2 from 2.0 on. The GPU operator's kinds are v1 (ClusterPolicy) and v1alpha1. (The
CustomResourceDefinitions of these projects.)
"""

from __future__ import annotations

from handlers.contract import Fatal, Json, Kind

CAPI = ("v1beta2", "v1beta1")
CORE, CONTROL, BOOT = "cluster.x-k8s.io", "controlplane.cluster.x-k8s.io", "bootstrap.cluster.x-k8s.io"
INFRA, ADDONS = "infrastructure.cluster.x-k8s.io", "addons.cluster.x-k8s.io"
APPS, RBAC, ADMISSION = "apps", "rbac.authorization.k8s.io", "admissionregistration.k8s.io"
NVIDIA, FEATURES = "nvidia.com", "nfd.k8s-sigs.io"

CLUSTER = Kind(CORE, "Cluster", "clusters", CAPI)
MACHINE = Kind(CORE, "Machine", "machines", CAPI)
MACHINE_DEPLOYMENT = Kind(CORE, "MachineDeployment", "machinedeployments", CAPI)
MACHINE_HEALTH_CHECK = Kind(CORE, "MachineHealthCheck", "machinehealthchecks", CAPI)
CONTROL_PLANE = Kind(CONTROL, "KubeadmControlPlane", "kubeadmcontrolplanes", CAPI)
KUBEADM_TEMPLATE = Kind(BOOT, "KubeadmConfigTemplate", "kubeadmconfigtemplates", CAPI)
AWS_CLUSTER = Kind(INFRA, "AWSCluster", "awsclusters", CAPI)
AWS_MACHINE = Kind(INFRA, "AWSMachine", "awsmachines", CAPI)
AWS_MACHINE_TEMPLATE = Kind(INFRA, "AWSMachineTemplate", "awsmachinetemplates", CAPI)
ROLE_IDENTITY = Kind(INFRA, "AWSClusterRoleIdentity", "awsclusterroleidentities", CAPI, namespaced=False)
CONTROLLER_IDENTITY = Kind(INFRA, "AWSClusterControllerIdentity", "awsclustercontrolleridentities", CAPI, False)
RESOURCE_SET = Kind(ADDONS, "ClusterResourceSet", "clusterresourcesets", CAPI)
NAMESPACE = Kind("", "Namespace", "namespaces", namespaced=False)
SECRET = Kind("", "Secret", "secrets")
SERVICE = Kind("", "Service", "services")
PERSISTENT_VOLUME = Kind("", "PersistentVolume", "persistentvolumes", namespaced=False)
STATIC_IDENTITY = Kind(INFRA, "AWSClusterStaticIdentity", "awsclusterstaticidentities", CAPI, namespaced=False)
EVENT = Kind("", "Event", "events")
NODE = Kind("", "Node", "nodes", namespaced=False)
POD = Kind("", "Pod", "pods")
SERVICE_ACCOUNT = Kind("", "ServiceAccount", "serviceaccounts")
CONFIG_MAP = Kind("", "ConfigMap", "configmaps")
DEPLOYMENT = Kind(APPS, "Deployment", "deployments")
DAEMON_SET = Kind(APPS, "DaemonSet", "daemonsets")
JOB = Kind("batch", "Job", "jobs")
CLUSTER_ROLE = Kind(RBAC, "ClusterRole", "clusterroles", namespaced=False)
CLUSTER_ROLE_BINDING = Kind(RBAC, "ClusterRoleBinding", "clusterrolebindings", namespaced=False)
ROLE = Kind(RBAC, "Role", "roles")
ROLE_BINDING = Kind(RBAC, "RoleBinding", "rolebindings")
DEFINITION = Kind("apiextensions.k8s.io", "CustomResourceDefinition", "customresourcedefinitions", namespaced=False)
PRIORITY_CLASS = Kind("scheduling.k8s.io", "PriorityClass", "priorityclasses", namespaced=False)
RUNTIME_CLASS = Kind("node.k8s.io", "RuntimeClass", "runtimeclasses", namespaced=False)
DISRUPTION_BUDGET = Kind("policy", "PodDisruptionBudget", "poddisruptionbudgets")
NETWORK_POLICY = Kind("networking.k8s.io", "NetworkPolicy", "networkpolicies")
ADMISSION_POLICY = Kind(ADMISSION, "ValidatingAdmissionPolicy", "validatingadmissionpolicies", namespaced=False)
ADMISSION_BINDING = Kind(
    ADMISSION, "ValidatingAdmissionPolicyBinding", "validatingadmissionpolicybindings", namespaced=False
)
CLUSTER_POLICY = Kind(NVIDIA, "ClusterPolicy", "clusterpolicies", namespaced=False)
NVIDIA_DRIVER = Kind(NVIDIA, "NVIDIADriver", "nvidiadrivers", ("v1alpha1",), namespaced=False)
GPU_CLUSTER = Kind(NVIDIA, "GPUCluster", "gpuclusters", ("v1alpha1",), namespaced=False)
NODE_FEATURE = Kind(FEATURES, "NodeFeature", "nodefeatures", ("v1alpha1",))
NODE_FEATURE_RULE = Kind(FEATURES, "NodeFeatureRule", "nodefeaturerules", ("v1alpha1",), namespaced=False)
NODE_FEATURE_GROUP = Kind(FEATURES, "NodeFeatureGroup", "nodefeaturegroups", ("v1alpha1",))

KINDS = (
    CLUSTER, MACHINE, MACHINE_DEPLOYMENT, MACHINE_HEALTH_CHECK, CONTROL_PLANE, KUBEADM_TEMPLATE, AWS_CLUSTER,
    AWS_MACHINE, AWS_MACHINE_TEMPLATE, ROLE_IDENTITY, CONTROLLER_IDENTITY, RESOURCE_SET, NAMESPACE, SECRET, SERVICE,
    EVENT, NODE, POD, SERVICE_ACCOUNT, CONFIG_MAP, DEPLOYMENT, DAEMON_SET, JOB, CLUSTER_ROLE, CLUSTER_ROLE_BINDING,
    PERSISTENT_VOLUME, STATIC_IDENTITY, ROLE, ROLE_BINDING, DEFINITION, PRIORITY_CLASS, RUNTIME_CLASS,
    DISRUPTION_BUDGET, NETWORK_POLICY, ADMISSION_POLICY, ADMISSION_BINDING, CLUSTER_POLICY, NVIDIA_DRIVER, GPU_CLUSTER,
    NODE_FEATURE, NODE_FEATURE_RULE, NODE_FEATURE_GROUP,
)  # fmt: skip
BY_NAME = {(kind.group, kind.name): kind for kind in KINDS}
BY_RESOURCE = {kind.resource: kind for kind in KINDS}


def kind_of(item: Json) -> Kind:
    """The kind of an object that is written or was read."""
    group, name = str(item["apiVersion"]).rpartition("/")[0], str(item["kind"])
    found = BY_NAME.get((group, name))
    if found is None:
        raise Fatal(f"This version of tkgbot does not know the kind {name} of {group or 'the core group'}.")
    return found
