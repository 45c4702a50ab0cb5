// Publishes in all three modes and reads back what it published.
import assert from "node:assert/strict";
import { CloudEvent, HTTP } from "cloudevents";

const url = process.argv[2];
const event = (id) =>
  new CloudEvent({
    id,
    source: "urn:test:javascript",
    type: "step.completed",
    subject: "a/b",
    datacontenttype: "application/json",
    data: { text: "caf\u00e9 \u2028", n: 1.5 },
    retries: 3,
  });

async function publish({ headers, body }) {
  const answer = await fetch(url, { method: "POST", headers, body });
  assert.equal(answer.status, 201, await answer.text());
}

const published = ["structured", "binary", "batch-1", "batch-2"].map(event);
await publish(HTTP.structured(published[0]));
await publish(HTTP.binary(published[1]));
await publish({
  headers: { "content-type": "application/cloudevents-batch+json" },
  body: JSON.stringify(published.slice(2)),
});

const page = await fetch(`${url}?after=earliest`, { headers: { accept: "application/json" } });
const { events } = await page.json();
const read = HTTP.toEvent({
  headers: { "content-type": "application/cloudevents-batch+json" },
  body: JSON.stringify(events),
});
assert.equal(read.length, published.length);
for (const [n, sent] of published.entries()) {
  for (const name of ["id", "source", "type", "subject", "datacontenttype", "data", "retries"]) {
    // An extension that went through a header is a text.
    const [was, is] = [sent[name], read[n][name]];
    assert.deepEqual(typeof is === "string" && typeof was === "number" ? Number(is) : is, was, name);
  }
}
