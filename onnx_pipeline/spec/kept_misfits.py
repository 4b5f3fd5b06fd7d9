"""The model that a `defs.yaml` is read by, which keeps what is wrong instead of raising it.

Dagster checks attributes before it asks a component for anything, and what is raised there ends the loading of the
whole project. Kept, one scoring is broken, and the others load.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any

from pydantic import (
    BaseModel,
    ConfigDict,
    ModelWrapValidatorHandler,
    PrivateAttr,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo

from onnx_pipeline.base.errors import SpecError

__all__ = ["keeping_misfits", "kept_misfits"]


class _Keeping(BaseModel):
    _misfits: ValidationError | SpecError | None = PrivateAttr(None)
    _given: Any = PrivateAttr(None)

    @model_validator(mode="wrap")
    @classmethod
    def _keep(cls, given: Any, handler: ModelWrapValidatorHandler[Any]) -> Any:
        try:
            return handler(given)
        except ValidationError as error:
            return cls._kept(error, given)
        except TypeError as error:
            # Pydantic's, where a number is compared that is none.
            return cls._kept(SpecError(cls._untold(given, error)), given)

    @classmethod
    def _kept(cls, misfits: ValidationError | SpecError, given: Any) -> BaseModel:
        kept = cls.model_construct()
        kept._misfits, kept._given = misfits, given  # noqa: SLF001 - of this class
        return kept

    @classmethod
    def _untold(cls, given: Mapping[str, Any], error: TypeError) -> str:
        """The message with the attribute that the error does not name."""
        for name, field in cls.model_fields.items():
            if _is_compared_wrongly(_adapter(field), given.get(name)):
                return f"{name} is {given[name]!r}: {error}"
        return str(error)


def _adapter(field: FieldInfo) -> TypeAdapter[Any]:
    kind: Any = Annotated[field.annotation, field]
    return TypeAdapter(kind)


def _is_compared_wrongly(kind: TypeAdapter[Any], value: Any) -> bool:
    try:
        kind.validate_python(value)
    except TypeError:
        return True
    except ValidationError:
        return False
    return False


@cache
def keeping_misfits(model: type[BaseModel]) -> type[BaseModel]:
    """`model`, by the same name and schema, whose misfits are kept for `kept_misfits`."""

    class Keeping(_Keeping, model):  # type: ignore[valid-type, misc]
        model_config = ConfigDict(title=model.__name__)

    return Keeping


def kept_misfits(attributes: BaseModel | None) -> tuple[ValidationError | SpecError | None, Any]:
    """What was wrong with attributes, and what was given; None where nothing was."""
    if isinstance(attributes, _Keeping) and attributes._misfits is not None:  # noqa: SLF001 - of this module
        return attributes._misfits, attributes._given  # noqa: SLF001
    return None, None
