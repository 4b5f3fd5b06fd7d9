"""The models table on a T-SQL server."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.records import MODELS_TABLE
from onnx_pipeline.pools.scripts import script, statements_of
from onnx_pipeline.pools.tables import models_table, registered_model
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["register"]

_WITH_FORM = f"SELECT name FROM sys.columns WHERE object_id = OBJECT_ID('{MODELS_TABLE}') AND name = 'form'"  # noqa: S608


_SMALL = 2**23
"""Bytes that VARBINARY(MAX) holds everywhere."""


class _Server(Protocol):
    @property
    def sql_folder(self) -> str: ...

    def guard(self, session: Session, resource: str) -> AbstractContextManager[None]: ...


def register(server: _Server, session: Session, record: Mapping[str, Any]) -> int:
    """The id of a model's row, which is made where it is missing."""
    models = models_table()
    following = sa.select(sa.func.coalesce(sa.func.max(models.c.id), 0) + 1)
    with server.guard(session, MODELS_TABLE):
        _prepare(session, server.sql_folder)
        with session.transaction():
            standing = int(session.scalar(registered_model(record["name"], record["sha256"], record["form"])))
            if standing:
                return standing
            number = int(session.scalar(following))
            try:
                session.execute(sa.insert(models).values({"id": number, **record}))
            except PoolError as error:
                size = len(record["model"])
                if error.transient or size <= _SMALL:
                    raise
                # https://learn.microsoft.com/fabric/data-warehouse/data-types and sql/t-sql/data-types/binary-and-varbinary-transact-sql
                raise PoolError(
                    f"{error}. The model has {size:,} bytes: VARBINARY(MAX) holds 2,147,483,647 bytes on SQL Server, "
                    "Azure SQL and Synapse, and some 16 MB in a Fabric Warehouse. Export a smaller model, or score "
                    "it against a pool that holds it"
                ) from error
            return number


def _prepare(session: Session, sql_folder: str) -> None:
    """Make the models table, or give one of an earlier version its column; outside a transaction, as DDL must be."""
    try:
        for statement in statements_of(script(sql_folder, MODELS_TABLE)):
            session.execute(statement)
    except PoolError as error:
        if error.transient:
            raise
        # Where nothing locks, somebody else may have done it a moment ago; and who scores may not alter tables.
        if session.scalar(_WITH_FORM) is None:
            raise PoolError(
                f"{error}. {MODELS_TABLE} is missing or lacks its column `form`, and this user may not make it: "
                "run `onnx-pipeline sql apply` once, as somebody who may"
            ) from error
