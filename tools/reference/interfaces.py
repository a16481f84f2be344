"""The command line from its parsers, REST from its OpenAPI document, machine endpoints from what serves them."""

from __future__ import annotations

import ast
from types import SimpleNamespace
from typing import Any, cast

from keephold.api.people import PeopleApi
from keephold.cli.main import app
from reference.source import ROOT, line, parsed, table


def commands() -> str:
    """Return every command with its options."""
    text = app.generate_docs(output_format="markdown", heading_level=1)
    return text[text.index("## keephold new") :].strip().replace("```console\n", "```text\n")


def openapi() -> dict[str, Any]:
    """Return the document that a node serves at `/openapi.json`; it depends on no ledger."""
    return PeopleApi(cast("Any", SimpleNamespace(people=None)), cast("Any", None)).openapi()


def rest_table() -> str:
    """Return the REST endpoints with their parameters and the schema of their answers."""
    document = openapi()
    rows = []
    for path, methods in document["paths"].items():
        operation = methods["get"]
        taken = ", ".join(f"`{item['name']}` ({item['in']}): {item['description']}" for item in operation["parameters"])
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        rows.append((f"`GET {path}`", operation["summary"], line(taken), _kind(schema)))
    return table(("endpoint", "", "takes", "yields"), rows)


def rest_schemas() -> str:
    """Return the objects that REST yields, field by field."""
    parts = []
    for name, schema in openapi()["components"]["schemas"].items():
        parts.append(f"### {name}")
        if schema.get("description"):
            parts.append(line(schema["description"]))
        rows = [
            (f"`{field}`", _kind(inner), "yes" if field in schema.get("required", ()) else "")
            for field, inner in schema["properties"].items()
        ]
        parts.append(table(("field", "type", "always"), rows))
    return "\n\n".join(parts)


def _kind(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    if schema.get("type") == "array":
        return f"list of {_kind(schema.get('items', {}))}"
    if "anyOf" in schema:
        return " or ".join(_kind(one) for one in schema["anyOf"])
    if schema.get("additionalProperties"):
        return f"map to {_kind(schema['additionalProperties'])}"
    return str(schema.get("type", "any"))


def endpoint_table() -> str:
    """Return the machine endpoints of node and gateway: the record sent, and the record that comes back."""
    rows = []
    for path, name in (("api/machine.py", "MachineApi"), ("gateway/service.py", "GatewayService")):
        body = parsed(ROOT / path).body
        served = next(node for node in body if isinstance(node, ast.ClassDef) and node.name == name)
        for method in served.body:
            if isinstance(method, ast.AsyncFunctionDef):
                doc = (ast.get_docstring(method) or "").split("\n\n", maxsplit=1)[0]
                rows.append((f"`POST /v1/m/{method.name}`", line(doc)))
    return table(("endpoint", "record sent, record answered"), rows)
