"""JSON schemas of models, with the sentences that stand under their fields."""

import ast
import inspect
import sys
from typing import Any, Literal, cast

import orjson
from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema

from stagebook.definition.function_code import Sources
from stagebook.definition.output_model import written_fields
from stagebook.model.image import Image
from stagebook.model.told import Call


class NoSchema(Exception):
    """A model cannot be written as JSON; the text is pydantic's reason."""


class Schemas:
    """Makes schemas, and reads the files of models once each.

    Args:
        sources: Parsed files.
    """

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._sentences: dict[type, dict[str, str]] = {}
        self._made: dict[tuple[type, str], bytes] = {}
        self._inside: dict[type, set[type]] = {}
        """Models that a model consists of, itself included."""

    def written(self, model: type[BaseModel]) -> bytes:
        """Make the schema of what is given: every field that is not computed, in their order.

        Raises:
            NoSchema: A field has no JSON form.
        """
        return self._make(model, "validation")

    def asked_for(self, model: type[BaseModel]) -> bytes:
        """Make the schema of what a language model writes: as `written`, no pictures, and nothing that is filled in.

        Raises:
            NoSchema: A field has no JSON form, or is a picture.
        """
        made = self._make(model, "validation")
        if Image in self._inside[model]:
            raise NoSchema("a language model writes no pictures")
        written = written_fields(model)
        if len(written) == len(model.model_fields):
            return made
        document = orjson.loads(made)
        for name in set(model.model_fields) - set(written):
            document["properties"].pop(name, None)
        if b'"#/$defs/Call"' not in orjson.dumps({**document, "$defs": {}}):
            document.get("$defs", {}).pop(Call.__name__, None)
        return orjson.dumps({key: value for key, value in document.items() if key != "$defs" or value})

    def kept(self, model: type[BaseModel]) -> bytes:
        """Make the schema of what the ledger keeps, computed fields included.

        Raises:
            NoSchema: A field has no JSON form.
        """
        return self._make(model, "serialization")

    def _make(self, model: type[BaseModel], mode: Literal["validation", "serialization"]) -> bytes:
        if (model, mode) not in self._made:
            schemas = self
            inside = self._inside.setdefault(model, set())

            class WithSentences(GenerateJsonSchema):
                """Pydantic's own, with a description for each field that has none but a sentence under it."""

                def emit_warning(self, kind: JsonSchemaWarningKind, detail: str) -> None:
                    """Say nothing: a default that JSON cannot hold is left out, and that harms nobody."""

                def model_schema(self, schema: core_schema.ModelSchema) -> JsonSchemaValue:
                    made = super().model_schema(schema)
                    inside.add(schema["cls"])
                    schemas.describe(cast("type[BaseModel]", schema["cls"]), made)
                    return made

            try:
                made = model.model_json_schema(schema_generator=WithSentences, mode=mode)
            except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
                raise NoSchema(str(error).splitlines()[0]) from error
            # pydantic sorts every key but those of `properties`, whose order is the order in which a model writes them
            self._made[model, mode] = orjson.dumps(made)
        return self._made[model, mode]

    def describe(self, model: type[BaseModel], schema: dict[str, Any]) -> None:
        """Put the sentences under a model's fields into its schema, where no description is given."""
        properties = schema.get("properties", {})
        for name, sentence in self._of(model).items():
            field = model.model_fields.get(name)
            alias = (field.validation_alias or field.alias) if field is not None else None
            shown = properties.get(alias if isinstance(alias, str) else name) or properties.get(name)
            if isinstance(shown, dict):
                shown.setdefault("description", sentence)

    def _of(self, model: type[BaseModel]) -> dict[str, str]:
        """Read the sentences under a model's fields, inherited ones too; pydantic does so only where asked to."""
        if model not in self._sentences:
            found: dict[str, str] = {}
            for cls in reversed(model.__mro__):
                if issubclass(cls, BaseModel) and cls is not BaseModel:
                    found.update(self._read(cls))
            self._sentences[model] = found
        return self._sentences[model]

    def _read(self, cls: type) -> dict[str, str]:
        file = getattr(sys.modules.get(cls.__module__), "__file__", None)
        node = self._sources.class_(cls, file) if file else None
        if node is None:
            return {}
        return {
            line.target.id: inspect.cleandoc(below.value.value)
            for line, below in zip(node.body, node.body[1:], strict=False)
            if isinstance(line, ast.AnnAssign)
            and isinstance(line.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        }
