"""What a method writes into an export's card for its own reader, read again and checked."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from ptv2_scale.backbones.sizes import MAX_SIZE
from ptv2_scale.runtime.errors import UserError

Size = Annotated[int, Field(ge=1, le=MAX_SIZE)]
_Facts = TypeVar("_Facts")


def read_facts(adapter: TypeAdapter[_Facts], facts: Mapping[str, Any]) -> _Facts:
    """A card's section `method` as its method's own type.

    Raises:
        UserError: it lacks something, or a value is none that the method writes.
    """
    try:
        return adapter.validate_python(facts)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"not a readable card: method.{where}: {first['msg']}.") from None
