"""Publishes in all three modes and reads back what it published."""

import json
import sys
from datetime import datetime, timezone

import requests
from cloudevents.core.bindings.http import (
    HTTPMessage,
    from_http_event,
    to_binary_event,
    to_structured_event,
)
from cloudevents.core.v1.event import CloudEvent

url = sys.argv[1]


def event(event_id):
    attributes = {
        "specversion": "1.0",
        "id": event_id,
        "source": "urn:test:python",
        "type": "step.completed",
        "subject": "a/b",
        "time": datetime(2026, 1, 31, 12, 0, 0, 250_000, tzinfo=timezone.utc),
        "datacontenttype": "application/json",
        "comexample": "own",
    }
    return CloudEvent(attributes, {"text": "caf\u00e9 \u2028", "n": 1.5})


def publish(headers, body):
    answer = requests.post(url, headers=headers, data=body, timeout=60)
    assert answer.status_code == 201, answer.text


published = [event(name) for name in ("structured", "binary", "batch-1", "batch-2")]
for message in (to_structured_event(published[0]), to_binary_event(published[1])):
    publish(message.headers, message.body)
batch = [json.loads(to_structured_event(event).body) for event in published[2:]]
publish({"content-type": "application/cloudevents-batch+json"}, json.dumps(batch))

page = requests.get(
    url, params={"after": "earliest"}, headers={"accept": "application/json"}, timeout=60
)
events = page.json()["events"]
assert len(events) == len(published), events
for sent, read in zip(published, events):
    structured = {"content-type": "application/cloudevents+json"}
    got = from_http_event(HTTPMessage(structured, json.dumps(read).encode()))
    assert got.get_data() == sent.get_data(), (got.get_data(), sent.get_data())
    for name, value in sent.get_attributes().items():
        assert got.get_attributes()[name] == value, (name, got.get_attributes())
