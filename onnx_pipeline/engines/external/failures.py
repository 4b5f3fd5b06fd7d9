"""What to do about a script that the server did not run: what it says is about itself, and seldom says the way out.

Numbers and texts: https://learn.microsoft.com/sql/relational-databases/errors-events/database-engine-events-and-errors-31000-to-41399
"""

import re

from onnx_pipeline.base.errors import PoolError

__all__ = ["explained"]

_REMEDIES = {
    r"\(39023\)|is disabled on this instance": "External scripts are switched off: an administrator runs "
    "EXEC sp_configure 'external scripts enabled', 1; RECONFIGURE WITH OVERRIDE",
    r"\(39011\)|communicate with the LaunchPad": "The service that starts scripts does not run: start "
    "mssql-launchpadd on Linux, SQL Server Launchpad on Windows",
    r"\(39012\)|communicate with the runtime": "The script's process ended early: docs/external-language.md says where "
    "to look, under When it does not work",
    r"\(39021\)|[Uu]nable to launch (?:the )?runtime": "The registered package is for another platform, or damaged: an "
    "administrator runs `onnx-pipeline extension deploy` again",
    # What the server says here was never seen; before a row moves it is asked, and this is for what changes meanwhile.
    r"external language .*(?:not registered|not exist|not be found|not found)": "The language is not registered in "
    "this database: an administrator runs `onnx-pipeline extension deploy`",
    r"\(229\)|\(15151\)|permission was denied|do(?:es)? not have permission": "This user lacks a "
    "right: external_language_roles.sql has the grants, and what the source reads has to be granted, too",
    r"\(1153[78]\)|WITH RESULT SETS clause specified": "What is registered as the language is not of this version: "
    "an administrator runs `onnx-pipeline extension deploy` again",
    r"holds no model \d+ that you may read": "Somebody removed it, or this user may not read the table: materialize "
    "the scoring again, or GRANT SELECT ON onnx_models",
}
"""What a message is known by, with its number or without: mssql-python keeps the text alone."""


def explained(error: PoolError) -> PoolError:
    """The same error with what to do about it, where that is known; one that may pass is left as it is."""
    if error.transient:
        return error
    text = str(error)
    for pattern, remedy in _REMEDIES.items():
        if re.search(pattern, text, re.DOTALL):
            return PoolError(f"{text.rstrip('. ')}. {remedy}. Nothing was staged.")
    return error
