"""The models table on a T-SQL server."""

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, Protocol

import sqlalchemy as sa

from onnx_pipeline.base.errors import PoolError
from onnx_pipeline.pools.records import MODELS_TABLE
from onnx_pipeline.pools.tables import models_table, registered_model
from onnx_pipeline.pools.tsql.kept import prepare
from onnx_pipeline.pools.tsql.session import Session

__all__ = ["kept_sha256", "register"]


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
        prepare(session, server.sql_folder, MODELS_TABLE, models.c.keys())
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


def kept_sha256(session: Session, number: int) -> str:
    """The sha256 of the bytes that a row holds, empty where there is none; on SQL Server 2016 or later, whose HASHBYTES takes more than 8,000."""
    found = session.scalar("SELECT HASHBYTES('SHA2_256', model) AS kept FROM onnx_models WHERE id = ?", [number])
    return "" if found is None else bytes(found).hex()
