"""INSERT … EXEC: a table is filled by the rows that a batch answers with, in the session that made it.

INSERT … EXEC takes no WITH RESULT SETS of its own; within the batch it may stand. The batch itself may hold no other
INSERT … EXEC. https://learn.microsoft.com/sql/t-sql/statements/insert-transact-sql and language-elements/execute-transact-sql
"""

from collections.abc import Sequence

import sqlalchemy as sa

from onnx_pipeline.pools.landing import ServerScript
from onnx_pipeline.pools.tsql.dialect import literal, national, quoted, readable

__all__ = ["insert_exec"]


def insert_exec(table: sa.Table, names: Sequence[str], script: ServerScript) -> str:
    """The statement that fills columns of a table, in this order, by what the batch answers with."""
    given = {"input_query": readable(script.query), **script.parameters}
    declared = ", ".join(
        f"@{name} {'BIGINT' if isinstance(value, int) else 'NVARCHAR(MAX)'}" for name, value in given.items()
    )
    values = [
        f"@{name} = {literal(value) if isinstance(value, int) else national(value)}" for name, value in given.items()
    ]
    columns = ", ".join(map(quoted, names))
    arguments = ",\n    ".join([national(script.batch), national(declared), *values])
    return f"INSERT INTO {quoted(table.schema, table.name)} ({columns})\nEXEC sp_executesql {arguments}"
