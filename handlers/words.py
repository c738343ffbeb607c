"""The kinds of words that arguments are made of. Closed patterns: no word can be an option, a path or a URL."""

from __future__ import annotations

import re
from typing import Annotated

from handlers.contract import word

_LABEL = r"(?![^=,]*(?:kubernetes|k8s)\.io/)[A-Za-z0-9](?:[A-Za-z0-9./_-]{0,100}[A-Za-z0-9])?=[A-Za-z0-9._-]{0,63}"
ClusterName = Annotated[
    str,
    *word(
        r"[a-z0-9]([-a-z0-9]{0,40}[a-z0-9])?",
        "a cluster name (lower-case letters, digits and dashes, at most 42)",
        "demo",
        lambda wrong: re.sub(r"[^a-z0-9]+", "-", wrong.lower()).strip("-")[:42].rstrip("-"),
    ),
]
"""At most 42 characters, the limit of TKG; AWS's tag key would allow 106, Kubernetes 63."""
SUBNET = r"subnet-(?:[0-9a-f]{8}|[0-9a-f]{17})"
SubnetId = Annotated[str, *word(SUBNET, "a subnet id", "subnet-0a1b2c3d4e5f60718")]
SubnetList = Annotated[
    str,
    *word(
        rf"{SUBNET}(?:,{SUBNET}){{0,199}}",
        "subnet ids with commas between them (at most 200)",
        "subnet-0a1b2c3d4e5f60718,subnet-0a1b2c3d4e5f60719",
        lambda wrong: re.sub(r"[^a-z0-9-]+", ",", wrong.lower()).strip(","),
    ),
]
"""Several subnets as one word: a flag takes one word."""
VpcId = Annotated[str, *word(r"vpc-(?:[0-9a-f]{8}|[0-9a-f]{17})", "a VPC id", "vpc-0a1b2c3d4e5f60718")]
AccountName = Annotated[str, *word(r"[a-z0-9][a-z0-9-]{0,30}", "the name of an account in the settings", "management")]
IdentityName = Annotated[
    str,
    *word(
        r"[a-z0-9][a-z0-9-]{0,30}",
        "a name for an account (lower-case letters, digits and dashes, at most 31)",
        "team-a",
        lambda wrong: re.sub(r"[^a-z0-9]+", "-", wrong.lower()).strip("-")[:31],
    ),
]
"""Of an account that is brought in: the name of its AWSClusterRoleIdentity."""
AccountId = Annotated[
    str,
    *word(
        r"[0-9]{12}", "an AWS account id (twelve digits)", "444455556666", lambda wrong: re.sub(r"[^0-9]", "", wrong)
    ),
]
NamespaceList = Annotated[
    str,
    *word(
        r"[a-z0-9][-a-z0-9]{0,62}(?:,[a-z0-9][-a-z0-9]{0,62}){0,49}",
        "namespaces with commas between them (at most 50)",
        "team-a,team-b",
        lambda wrong: re.sub(r"[^a-z0-9-]+", ",", wrong.lower()).strip(","),
    ),
]
LabelSelector = Annotated[
    str,
    *word(
        r"(?:[A-Za-z0-9./_-]{1,253}=[A-Za-z0-9._-]{0,63})(?:,[A-Za-z0-9./_-]{1,253}=[A-Za-z0-9._-]{0,63}){0,9}",
        "labels of namespaces (key=value, with commas between them)",
        "team=payments",
        str.strip,
    ),
]
ExternalId = Annotated[
    str,
    *word(
        r"[A-Za-z0-9][\w+=,.@-]{1,1223}",
        "an external id (2 to 1,224 letters, digits and +=,.@_-), or `auto`",
        "auto",
        str.strip,
    ),
]
"""AWS would also take colons and slashes: no word of a command can be a path or an address."""
Region = Annotated[str, *word(r"[a-z]{2}(-[a-z]+)+-[0-9]", "an AWS region", "us-east-1")]
Namespace = Annotated[
    str,
    *word(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?", "a namespace of the management cluster", "default"),
]
KubernetesVersion = Annotated[
    str,
    *word(
        r"v1\.[0-9]{1,2}\.[0-9]{1,2}", "a Kubernetes version", "v1.33.1", lambda wrong: f"v{wrong.lower().strip('v')}"
    ),
]
InstanceType = Annotated[
    str, *word(r"[a-z][a-z0-9-]{0,15}\.(?:nano|micro|small|medium|large|metal|[0-9]{0,2}xlarge|metal-[0-9]{1,2}xl)",
               "an EC2 instance type", "m5.large")
]  # fmt: skip
_TYPE = r"[a-z][a-z0-9-]{0,15}\.(?:nano|micro|small|medium|large|metal|[0-9]{0,2}xlarge)"
GpuMachines = Annotated[
    str,
    *word(
        rf"{_TYPE}(?::[0-9]{{1,3}})?",
        "an EC2 instance type with GPUs, and how many after a colon",
        "g4dn.xlarge:2",
        lambda wrong: re.sub(r"[^a-z0-9.:-]+", "", wrong.lower()),
    ),
]
"""A pool of GPU machines in one word; one machine where no count stands."""
NodeLabels = Annotated[
    str,
    *word(
        rf"{_LABEL}(?:,{_LABEL}){{0,9}}",
        "labels for nodes (key=value, with commas between them; no key of kubernetes.io or k8s.io)",
        "team=vision",
        str.strip,
    ),
]
"""Labels that the kubelet registers its node with: it may not set those of Kubernetes' own domains.
(Kubernetes: "Well-Known Labels", NodeRestriction.)"""
PoolName = Annotated[
    str,
    *word(
        r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?",
        "a pool of workers, by the name of its MachineDeployment or what comes after the cluster's name",
        "md-0",
    ),
]
HowMany = Annotated[str, *word(r"all|[1-9][0-9]{0,2}", "a number, or `all`", "all")]
OperatorVersion = Annotated[
    str,
    *word(
        r"v[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}",
        "a version of the GPU operator",
        "v26.7.0",
        lambda wrong: f"v{wrong.lower().strip('v')}",
    ),
]
DriverVersion = Annotated[
    str,
    *word(
        r"preinstalled|[0-9]{3}\.[0-9]{1,3}(?:\.[0-9]{1,3})?",
        "a driver version, or `preinstalled`",
        "580.126.20",
    ),
]
KeyPair = Annotated[str, *word(r"[A-Za-z0-9][\w.@+-]{0,254}", "the name of an EC2 key pair", "ops", str.strip)]
