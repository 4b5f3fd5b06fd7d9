"""Everything that this package raises on purpose.

A message names the value, what follows from it, and what to do about it. Secrets never enter one.

    OnnxPipelineError
    ├── SpecError                 a defs.yaml, an attribute or a command line that cannot work
    │   ├── PartitionError        a partition that the scoring does not have, or an empty or reversed range
    │   └── InvalidScoringError   the same to who validates definitions (orchestration/broken.py)
    ├── ModelError                an artifact that is not a model that can be scored
    │   ├── ModelNotFoundError    nothing can be read at the URI
    │   ├── ModelUnavailableError its store does not answer (may pass: retried)
    │   ├── InvalidModelError     not ONNX, truncated, or refused by ONNX Runtime
    │   ├── UnsupportedModelError valid ONNX that has no form as columns (rank, dtype, external data, custom operators)
    │   │   └── NotCompilableError    the model has no form in SQL
    │   └── UnsafeModelError      loading or trying it ended the process, or took more time or memory than it may
    ├── SignatureError            model and columns do not fit together
    ├── DataError                 rows that cannot be scored or loaded
    │   ├── NullFeatureError      NULL or NaN where the model has no form for it
    │   ├── FeatureValueError     a value that the model's dtype cannot hold
    │   ├── PredictionError       NaN or infinite predictions, or a failed blocking check
    │   └── KeyColumnError        a key that is NULL or not unique within its slice
    ├── ExtensionPackageError     a library or package of the external language that a server could not load
    ├── OutOfMemoryError          ONNX Runtime got no memory to load a model, or for a single row
    ├── RuntimeUnavailableError   an execution provider or locale that this installation does not have, no process to
    │                             look at models in, or a release of ONNX Runtime that answers wrongly
    ├── ServiceError              a scoring service refused, or answered what cannot be its predictions
    │   └── ServiceUnavailableError  it does not answer, or asks to try later (may pass: retried)
    ├── ClusterError              a cluster did not carry out a job, after its own tries
    ├── StagingError              what an asset needs does not lie in staging, or cannot be put there
    │   └── StagingUnavailableError  the storage does not answer (may pass: retried)
    ├── Refusal, ClientGoneError  what the scoring service answers instead of predictions (serving/refusals.py)
    └── PoolError                 the pool refused a statement
        ├── PoolBusyError         somebody else holds the pool, or a lock in it (may pass: retried)
        ├── PoolUnavailableError  the connection broke, or the server asks to try again (may pass: retried)
        │   └── PoolUnopenedError     it moves the database, or has none of that name (may pass: retried, not for long)
        ├── PoolPausedError       the pool is paused and wants to be resumed
        ├── TargetError           the target table exists and does not fit
        └── AlreadyLoadedError    `load: append`, and the scoring log has the slice already
"""

from collections.abc import Callable

__all__ = [
    "AlreadyLoadedError",
    "ClusterError",
    "DataError",
    "ExtensionPackageError",
    "FeatureValueError",
    "InvalidModelError",
    "KeyColumnError",
    "ModelError",
    "ModelNotFoundError",
    "ModelUnavailableError",
    "NotCompilableError",
    "NullFeatureError",
    "OnnxPipelineError",
    "OutOfMemoryError",
    "PartitionError",
    "PoolBusyError",
    "PoolError",
    "PoolPausedError",
    "PoolUnavailableError",
    "PoolUnopenedError",
    "PredictionError",
    "RuntimeUnavailableError",
    "ServiceError",
    "ServiceUnavailableError",
    "SignatureError",
    "SpecError",
    "StagingError",
    "StagingUnavailableError",
    "TargetError",
    "UnsafeModelError",
    "UnsupportedModelError",
    "first_line",
]


def first_line(error: BaseException, *, most: int = 200, redacted: Callable[[str], str] = str) -> str:
    """What a library's error says, in short: its first line, or the error's name where it says nothing."""
    lines = redacted(str(error)).strip().splitlines()
    return lines[0][:most] if lines else type(error).__name__


class OnnxPipelineError(Exception):
    """Base of every error that this package raises on purpose."""

    transient = False
    """Whether the same call may succeed later without anybody changing anything; only these are retried."""


class SpecError(OnnxPipelineError):
    """A scoring's attributes, or what was asked of it, cannot work."""


class PartitionError(SpecError):
    """The scoring has no such partition, or the range holds none."""


class ModelError(OnnxPipelineError):
    """The artifact is not a model that can be scored."""


class ModelNotFoundError(ModelError):
    """Nothing can be read at the model's URI."""


class ModelUnavailableError(ModelError):
    """The store that holds the model does not answer; asking again may help."""

    transient = True


class InvalidModelError(ModelError):
    """The bytes are not a loadable ONNX model."""


class UnsupportedModelError(ModelError):
    """A valid ONNX model whose inputs or outputs have no form as table columns."""


class NotCompilableError(UnsupportedModelError):
    """A model, or one node of it, has no form in SQL; the message names the node."""


class UnsafeModelError(ModelError):
    """Loading or trying the model ended the process, or took more time or memory than it may."""


class SignatureError(OnnxPipelineError):
    """The model's inputs or outputs and the table's columns do not fit together."""


class DataError(OnnxPipelineError):
    """Rows that cannot be scored or loaded."""


class NullFeatureError(DataError):
    """A feature is NULL or NaN, and the model has no form for a missing value there."""


class FeatureValueError(DataError):
    """A feature holds a value that the model's dtype cannot hold."""

    def __init__(self, column: str, row: int, reason: str, *, told: str | None = None) -> None:
        """`row` counts from 0 in the rows at hand; `reason` ends a sentence that begins with the column.

        `told` takes that sentence's place, where more is known of the row than its number.
        """
        super().__init__(
            f"{told or f'column {column!r} {reason}'}; filter or clip such rows in the source query, or bind another "
            "column in `features`"
        )
        self.column, self.row, self.reason = column, row, reason


class PredictionError(DataError):
    """Predictions that must not reach the pool."""


class KeyColumnError(DataError):
    """A key is NULL, or not unique within its slice."""


class ExtensionPackageError(OnnxPipelineError):
    """A library or package of the external language that a server could not load."""


class OutOfMemoryError(OnnxPipelineError):
    """ONNX Runtime got no memory to load a model, or to score a single row."""


class RuntimeUnavailableError(OnnxPipelineError):
    """ONNX Runtime here lacks what the configuration asks for, or is a release that answers wrongly."""


class ServiceError(OnnxPipelineError):
    """A scoring service refused a request, or what it answered cannot be its predictions."""


class ServiceUnavailableError(ServiceError):
    """The scoring service does not answer, or asks to try later."""

    transient = True


class ClusterError(OnnxPipelineError):
    """A cluster did not carry out what it was asked, after its own tries."""


class StagingError(OnnxPipelineError):
    """What an asset needs does not lie in staging, or cannot be put there."""


class StagingUnavailableError(StagingError):
    """The storage that holds staged slices does not answer; asking again may help."""

    transient = True


class PoolError(OnnxPipelineError):
    """The pool refused a statement."""


class PoolBusyError(PoolError):
    """Somebody else holds the pool; waiting longer may help."""

    transient = True


class PoolUnavailableError(PoolError):
    """The connection broke, or the server asks to try again; what was not committed is undone."""

    transient = True


class PoolUnopenedError(PoolUnavailableError):
    """The server does not open the database: it may be moving it, and it may have none of that name."""


class PoolPausedError(PoolError):
    """The pool is paused; it answers once somebody has resumed it."""


class TargetError(PoolError):
    """The target table exists and does not fit the predictions."""


class AlreadyLoadedError(PoolError):
    """`load: append` was asked to load a slice that the scoring log already has."""
