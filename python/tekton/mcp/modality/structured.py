"""Structured data: any JSON, perhaps with the schema that describes it."""

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET

from tekton.mcp.modality.content import TAG, Content
from tekton.mcp.modality.reference import Reference, check_either
from tekton.mcp.schema_check import SchemaCheck, copied_schema
from tekton.utils.tekton_errors import InvalidContentError

__all__ = ["StructuredContent"]

_JSON = ("/json", "+json")


class StructuredContent(Content, frozen=True, tag="structured"):
    """*data*, JSON values, or the *reference* to them (`application/json`, or what ends with `+json`).

    And the JSON *schema* that they follow, if somebody has to know. An object or a list without a schema is in the
    message as it is. With a reference, `data` is `msgspec.UNSET`.
    """

    data: Any = UNSET
    schema: dict[str, Any] | None = None
    reference: Reference | None = None

    def __post_init__(self) -> None:
        check_either(self.data is not UNSET, self.reference, "/data")
        if self.reference is not None and not self.reference.media_type.endswith(_JSON):
            raise InvalidContentError("/reference/media_type", f"{self.reference.media_type} is not JSON")
        if self.schema is None:
            return
        try:
            copied_schema(self.schema)
        except (TypeError, ValueError) as error:
            raise InvalidContentError("/schema", str(error)) from None

    def to_content(self) -> Any:
        """The data itself where that can be nothing else; it is not copied."""
        if self.reference is not None:
            return super().to_content()
        plain = isinstance(self.data, list) or (isinstance(self.data, Mapping) and TAG not in self.data)
        if plain and self.schema is None:
            return self.data
        tagged = {TAG: "structured", "data": self.data}
        return tagged if self.schema is None else {**tagged, "schema": self.schema}

    def check(self) -> None:
        """Raise InvalidContentError unless the data follows the schema. Raises ValueError for a schema that is none.

        What is only referred to has to be fetched before.
        Needs the extra `schemas`. A schema of a stranger can take long: check only what somebody known has sent.
        """
        if self.reference is not None:
            raise InvalidContentError("/reference", "what it refers to was not fetched")
        if self.schema is not None and (found := SchemaCheck(self.schema).misfit(self.data)):
            raise InvalidContentError(f"/data{found.pointer}", found.problem)
