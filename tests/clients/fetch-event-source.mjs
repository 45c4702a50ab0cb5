// The library is made for browsers: it looks at whether the page is visible.
import { tell } from "./told.mjs";

globalThis.document = { hidden: false, addEventListener() {}, removeEventListener() {} };
globalThis.window = globalThis;
const { fetchEventSource } = await import("@microsoft/fetch-event-source");

class ConnectionClosed extends Error {}

await fetchEventSource(process.argv[2], {
  onmessage({ event, id, data }) {
    tell(event || "message", id, data);
    if (event === "reveille.end") process.exit(0);
  },
  // Without this a clean end of the connection is taken for the end of the stream.
  onclose() {
    throw new ConnectionClosed();
  },
  onerror(error) {
    if (error instanceof TypeError || error instanceof ConnectionClosed) return undefined;
    throw error;
  },
});
