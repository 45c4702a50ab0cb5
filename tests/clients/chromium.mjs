import { chromium } from "playwright-core";
import { FRAMES, tell } from "./told.mjs";

const url = new URL(process.argv[2]);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  args: [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
  ],
});
const page = await browser.newPage();
let end;
const ended = new Promise((resolve) => (end = resolve));
await page.exposeFunction("tell", (event, id, data) => {
  tell(event, id, data);
  if (event === "reveille.end") end();
});
// Any page of the same origin.
await page.goto(new URL("/v1/limits", url).href);
await page.evaluate(
  ([path, frames]) => {
    const source = new EventSource(path);
    const { tell } = globalThis;
    source.onmessage = (event) => tell("message", event.lastEventId, event.data);
    for (const name of frames) {
      source.addEventListener(name, (event) => {
        if (name === "reveille.end") source.close();
        tell(name, event.lastEventId, event.data);
      });
    }
  },
  [url.pathname + url.search, FRAMES],
);
await ended;
await browser.close();
