// Works with the gateway's page as a person does, and with its own eyes: what the page shows.
import assert from "node:assert/strict";
import { chromium } from "playwright-core";

const base = process.argv[2];
const token = process.argv[3] ?? "";
const authorization = token ? { authorization: `Bearer ${token}` } : {};

async function ask(method, path, body) {
  const answer = await fetch(base + path, {
    method,
    headers: { "content-type": "application/json", ...authorization },
    body: JSON.stringify(body),
  });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${await answer.clone().text()}`);
  return answer.json();
}

const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"],
});
const page = await browser.newPage();
const complaints = [];
page.on("pageerror", (error) => complaints.push(error.message));
page.on("requestfailed", (request) => {
  if (!request.url().startsWith(base)) complaints.push(`asked another host: ${request.url()}`);
});

// A session of which the page must tell that events are missing.
await ask("PUT", "/v1/sessions/run%2F17", { max_events: 3 });
for (let n = 0; n < 5; n += 1) {
  await ask("POST", "/v1/sessions/run%2F17/events", { type: "step.completed", data: { n } });
}

await page.goto(base);
if (token) {
  await page.getByText("refused").waitFor();
  await page.getByLabel("Token").fill(token);
  await page.getByRole("button", { name: "Use" }).click();
}
await page.getByRole("button", { name: "run/17" }).click();
const events = page.locator("#events tbody tr");
await events.filter({ hasText: "live from here" }).waitFor();
const shown = await events.evaluateAll((rows) => rows.map((row) => [row.className, row.innerText]));
assert.equal(shown[0][0], "gap");
assert.match(shown[0][1], /0–1.*2 events are missing: expired/s);
assert.deepEqual(
  shown.slice(1, 4).map(([, text]) => text.match(/\{.*\}/)[0]),
  ['{"n":2}', '{"n":3}', '{"n":4}'],
);

// A session that begins while the page is open comes into the list, and its events are live.
await ask("PUT", "/v1/sessions/run%2F18", {});
await ask("POST", "/v1/sessions/run%2F18/events", { type: "step.started" });
await page.getByRole("button", { name: "run/18" }).click();
await events.filter({ hasText: "step.started" }).waitFor();

// Wait and publish on the page: the one sees the other.
await page.getByRole("button", { name: "Wait for the next" }).click();
await page.getByText("Waiting …").waitFor();
for (;;) {
  const { waiters } = await ask("GET", "/v1/sessions/run%2F18");
  if (waiters >= 2) break;
}
await ask("POST", "/v1/sessions/run%2F18/events", { type: "task.completed" });
await page.getByText("Matched: task.completed").waitFor();
await page.getByLabel("Data (JSON)").fill('{"text": "<b>caf\u00e9</b>"}');
await page.getByRole("button", { name: "Publish" }).click();
await events.filter({ hasText: '{"text":"<b>café</b>"}' }).waitFor();
await page.getByLabel("Data (JSON)").fill("{");
await page.getByRole("button", { name: "Publish" }).click();
await page.locator("#outcome.failed").waitFor();

// Cancel, with the keyboard alone.
await page.getByLabel("Reason").focus();
await page.keyboard.type("not needed");
await page.keyboard.press("Enter");
await page.getByText("It was asked to stop.").waitFor();
await events.filter({ hasText: "task.status.cancel_requested" }).waitFor();

// The wait-for graph.
const [tests, build] = [
  await ask("POST", "/v1/signals", { name: "tests" }),
  await ask("POST", "/v1/signals", { name: "build" }),
];
const merged = await ask("POST", "/v1/signals:merge", { inputs: [tests.handle, build.handle] });
await page.getByLabel("Handle").fill(merged.handle);
await page.getByRole("button", { name: "Ask why" }).click();
await page.locator("#why li li", { hasText: "tests, owed by" }).waitFor();
await page.locator("#why li li", { hasText: "build, owed by" }).waitFor();

// The end.
await ask("POST", "/v1/sessions/run%2F18/close", {});
await events.filter({ hasText: "ended: closed" }).waitFor();

// Every field has a name, in both colour schemes the text can be read, and the page said no error.
for (const field of await page.locator("input, textarea, button").all()) {
  const name = await field.evaluate((element) => element.labels?.[0]?.innerText || element.innerText);
  assert.ok(name, await field.evaluate((element) => element.outerHTML));
}
for (const colorScheme of ["light", "dark"]) {
  await page.emulateMedia({ colorScheme });
  const [text, ground] = await page.evaluate(() => {
    const style = getComputedStyle(document.body);
    return [style.color, style.backgroundColor];
  });
  assert.ok(contrast(text, ground) >= 4.5, `${colorScheme}: ${text} on ${ground}`);
}
if (process.env.SCREENSHOT) await page.screenshot({ path: process.env.SCREENSHOT, fullPage: true });
assert.deepEqual(complaints, []);
await browser.close();

/// The contrast of two colours (WCAG 2.2, section 1.4.3).
function contrast(...colours) {
  const [one, other] = colours.map((colour) => {
    const [r, g, b] = colour.match(/[\d.]+/g).map((text) => {
      const part = Number(text) / 255;
      return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    });
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  });
  return Math.max(one, other) / Math.min(one, other);
}
