"""Views on a T-SQL server, with the model's sha256 as an extended property where the server has those."""

from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.dialect import quoted
from onnx_pipeline.pools.tsql.server import Server
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import standing
from onnx_pipeline.pools.views import MARK, DefineView, View, somebody_elses

__all__ = ["PROPERTY", "define"]

PROPERTY = "onnx_model_sha256"
_STANDS = (
    "SELECT COUNT(*) AS found FROM sys.extended_properties "
    "WHERE class = 1 AND minor_id = 0 AND name = ? AND major_id = OBJECT_ID(?)"
)
_OURS = "SELECT COUNT(*) AS found FROM sys.sql_modules WHERE object_id = OBJECT_ID(?) AND CHARINDEX(?, definition) > 0"


def define(server: Server, view: View, *, has_properties: bool) -> str:
    """Make the view, or alter it where it stands and is one of ours; its name as the server resolves it.

    Raises PoolError where something else bears the name.
    """
    with server.session(f"making view {view.name}") as session:
        found = standing(session, view.name)
        if found.exists and not session.scalar(_OURS, [quoted(*split_name(found.name)), MARK]):
            raise somebody_elses(found.name, server.display_name)
        session.execute(DefineView(view, "ALTER" if found.exists else "CREATE"))
        if not has_properties:
            return found.name
        name = standing(session, view.name).name
        _mark(session, view, name)
        return name


def _mark(session: Session, view: View, name: str) -> None:
    """Keep the model's sha256 with the view.

    https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-addextendedproperty-transact-sql
    """
    schema, bare = split_name(name)
    stands = session.scalar(_STANDS, [PROPERTY, quoted(schema, bare)])
    procedure = "sp_updateextendedproperty" if stands else "sp_addextendedproperty"
    call = (
        f"EXEC {procedure} @name = ?, @value = ?, "
        "@level0type = 'SCHEMA', @level0name = ?, @level1type = 'VIEW', @level1name = ?"
    )
    session.execute(call, [PROPERTY, view.model_sha256, schema, bare])
