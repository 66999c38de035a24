"""The shipped documents are those of the code, and the golden messages are valid for consumers and for us."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator

from alerts.alert import Alert, decode, encode
from alerts.cloudevent import DATA_SCHEMA, REQUIRED_HEADERS, headers
from alerts.schema.documents import FOLDER, JSON_SCHEMA, asyncapi, documents, json_schema
from alerts.schema.yaml_text import yaml_text
from alerts.topics import TOPICS

GOLDEN = sorted((Path(__file__).parent / "golden").glob("*.json"))
SHIPPED = json.loads((FOLDER / JSON_SCHEMA).read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", documents())
def test_document_is_not_stale(name: str) -> None:
    shipped = (FOLDER / name).read_text(encoding="utf-8")
    assert shipped == documents()[name], "stale: run python -m alerts.schema"


def test_schema_is_2020_12() -> None:
    Draft202012Validator.check_schema(SHIPPED)
    assert SHIPPED["$id"] == DATA_SCHEMA


def test_there_are_golden_messages() -> None:
    assert len(GOLDEN) >= 15


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_golden_message(path: Path) -> None:
    record = json.loads(path.read_text(encoding="utf-8"))
    assert not list(Draft202012Validator(SHIPPED).iter_errors(record))
    assert json.loads(encode(decode(json.dumps(record)))) == record
    assert {name for name, _ in headers(decode(json.dumps(record)), 0)} >= set(REQUIRED_HEADERS)


@pytest.mark.parametrize("field", [f.encode_name for f in msgspec.structs.fields(Alert) if f.required])
def test_schema_requires_what_the_code_requires(field: str) -> None:
    record = json.loads(GOLDEN[0].read_text(encoding="utf-8"))
    del record[field]
    assert list(Draft202012Validator(SHIPPED).iter_errors(record))


MUTATIONS: dict[str, Any] = {
    "wrong schema": {"schema": "alert/9"}, "revision 0": {"revision": 0}, "priority 5": {"priority": 5},
    "no claims": {"claims": []}, "empty headline": {"headline": ""}, "id": {"alert_id": "x"},
    "category": {"category": "party"}, "state": {"state": "maybe"}, "long summary": {"summary": "x" * 401},
}  # fmt: skip


@pytest.mark.parametrize("name", MUTATIONS)
def test_schema_refuses(name: str) -> None:
    record = json.loads(GOLDEN[0].read_text(encoding="utf-8")) | MUTATIONS[name]
    assert list(Draft202012Validator(json_schema()).iter_errors(record))


def test_asyncapi_names_every_topic_that_is_written() -> None:
    document = asyncapi()
    addresses = {channel["address"] for channel in document["channels"].values()}
    assert addresses == {"{prefix}." + name for name in TOPICS if name != "health.v1"}
    assert document["components"]["schemas"]["headers"]["required"] == list(REQUIRED_HEADERS)
    for operation in document["operations"].values():
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]


@pytest.mark.parametrize("value", [asyncapi(), {"a": [1, {"b": [], "c": {}}], "yes": "no", "n": None, "t": "a: b #c",
                                                "1": ["x", ["y", "true"]], "u": "中文\n\"q\""}])  # fmt: skip
def test_yaml_says_what_the_values_say(value: Any) -> None:
    yaml = pytest.importorskip("yaml")
    assert yaml.safe_load(yaml_text(value)) == value
