"""moto, typed: the only module that knows its inside. Importing it imports moto, so only a start does."""

import os
from collections.abc import Callable
from typing import Any

from moto.core.base_backend import BackendDict
from moto.ec2.models import ec2_backends
from moto.ec2.models.internet_gateways import InternetGateway
from moto.ec2.models.route_tables import Route
from moto.iam.models import iam_backends
from moto.moto_api._internal import mock_random
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.sts.models import sts_backends
from werkzeug.serving import WSGIRequestHandler, make_server

from sandbox.aws.policy import Document, parse
from sandbox.aws.wire import Answer, Environ

__all__ = ["application", "ec2_backends", "iam_backends", "mock_random", "policies", "reset", "role", "serve", "user"]


def _route_state(route: Any) -> str:
    """moto says 'active' always; a route to a gateway that is detached or gone is a blackhole (EC2 API, Route)."""
    return "blackhole" if isinstance(route.gateway, InternetGateway) and route.gateway.vpc is None else "active"


def reset() -> None:
    """moto's state is the process's."""
    os.environ["MOTO_EC2_LOAD_DEFAULT_AMIS"] = "false"  # 1,301 images, a second to load
    os.environ.pop("MOTO_ACCOUNT_ID", None)  # would put every caller into that account
    Route.state = property(_route_state)
    for backends in (ec2_backends, iam_backends, sts_backends):
        backends.clear()
    BackendDict.reset()


def user(access_key: str) -> Any:
    """None if nobody has this key."""
    users = [entry for account in list(iam_backends) for entry in list(iam_backends[account]["aws"].users.values())]
    return next(
        (
            entry
            for entry in users
            for key in entry.access_keys
            if key.access_key_id == access_key and key.status == "Active"
        ),
        None,
    )


def role(arn: str) -> Any:
    account = (arn.split(":") + [""] * 5)[4]
    roles = list(iam_backends[account]["aws"].roles.values()) if account in iam_backends else []
    return next((entry for entry in roles if entry.arn == arn), None)


def policies(entity: Any) -> tuple[Document, ...]:
    """Inline and attached ones of a user or role."""
    managed = [
        version.document
        for policy in entity.managed_policies.values()
        for version in policy.versions
        if version.version_id == policy.default_version_id
    ]
    return tuple(parse(text) for text in [*entity.policies.values(), *managed])


def application() -> Callable[[Environ], Answer]:
    app = DomainDispatcherApplication(create_backend_app)
    app.app_instances.update({service: create_backend_app(service) for service in ("ec2", "iam", "sts")})

    def forward(environ: Environ) -> Answer:
        head: list[Any] = []
        body = b"".join(app(environ, lambda status, headers, _error=None: head.extend((status, headers))))
        kept = [(name, value) for name, value in head[1] if name.lower() != "content-length"]
        return Answer(int(head[0].split()[0]), kept, body)

    return forward


def serve(app: Callable[..., Any], port: int) -> Any:
    """werkzeug's threaded server, silent: its log of requests would mix into the program's own."""
    silent = {"log_request": lambda *_args: None, "protocol_version": "HTTP/1.1"}
    handler = type("Handler", (WSGIRequestHandler,), silent)
    return make_server("127.0.0.1", port, app, threaded=True, request_handler=handler)
