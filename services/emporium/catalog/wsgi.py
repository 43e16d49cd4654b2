"""A catalog replica as a process: the parts, built from settings in the worker."""

from __future__ import annotations

from flask import Flask

from emporium.catalog.app import Parts, create_app
from emporium.catalog.desk import CatalogDesk
from emporium.catalog.state_machine import CatalogState
from emporium.editions import EditionError, FileError, first_items, items_as_data
from emporium.runtime import web
from emporium.runtime.driver import build_replica
from emporium.runtime.errors import SettingsError
from emporium.runtime.settings import CatalogSettings


def build(settings: CatalogSettings) -> Flask:
    """The running replica behind its app. Raises SettingsError, FatalError."""
    try:
        items = first_items(settings.edition, settings.items_file)
    except (EditionError, FileError) as error:
        raise SettingsError(f"the items can't be used: {error}") from error
    replica = build_replica(settings, CatalogState, CatalogDesk, items_as_data(items))
    return create_app(
        Parts(
            replica,
            web.Limits(settings.max_body_bytes, settings.operator_token, settings.faults),
            float(settings.request_timeout_ms),
            metrics=replica.metrics,
        )
    )
