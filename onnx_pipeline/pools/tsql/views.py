"""Views on a T-SQL server, with the model's sha256 as an extended property where the server has those."""

from onnx_pipeline.pools.tables import split_name
from onnx_pipeline.pools.tsql.server import Server
from onnx_pipeline.pools.tsql.session import Session
from onnx_pipeline.pools.tsql.tables import standing
from onnx_pipeline.pools.views import DefineView, View

__all__ = ["PROPERTY", "define"]

PROPERTY = "onnx_model_sha256"
_STANDS = (
    "SELECT COUNT(*) AS found FROM sys.extended_properties "
    "WHERE class = 1 AND minor_id = 0 AND name = ? AND major_id = OBJECT_ID(?)"
)


def define(server: Server, view: View, verb: str | None = None) -> str:
    """Make the view, or alter it; its name as the server resolves it.

    A server that has no `verb` for both has no extended properties either.
    """
    with server.session(f"making view {view.name}") as session:
        if verb is None:
            found = standing(session, view.name)
            session.execute(DefineView(view, "ALTER" if found.exists else "CREATE"))
            return found.name
        session.execute(DefineView(view, verb))
        name = standing(session, view.name).name
        _mark(session, view, name)
        return name


def _mark(session: Session, view: View, name: str) -> None:
    """Keep the model's sha256 with the view.

    https://learn.microsoft.com/sql/relational-databases/system-stored-procedures/sp-addextendedproperty-transact-sql
    """
    schema, bare = split_name(name)
    stands = session.scalar(_STANDS, [PROPERTY, name])
    procedure = "sp_updateextendedproperty" if stands else "sp_addextendedproperty"
    call = (
        f"EXEC {procedure} @name = ?, @value = ?, "
        "@level0type = 'SCHEMA', @level0name = ?, @level1type = 'VIEW', @level1name = ?"
    )
    session.execute(call, [PROPERTY, view.model_sha256, schema, bare])
