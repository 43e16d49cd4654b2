"""An order replica as a process: the parts, built from settings in the worker."""

from __future__ import annotations

from flask import Flask

from emporium.order.app import Parts, create_app
from emporium.order.desk import OrderDesk
from emporium.order.state_machine import OrderState
from emporium.runtime import web
from emporium.runtime.driver import build_replica
from emporium.runtime.settings import OrderSettings


def build(settings: OrderSettings) -> Flask:
    """The running replica behind its app. Raises FatalError."""
    replica = build_replica(settings, OrderState, OrderDesk)
    return create_app(
        Parts(
            replica,
            web.Limits(settings.max_body_bytes, settings.operator_token, settings.faults),
            float(settings.request_timeout_ms),
            metrics=replica.metrics,
        )
    )
