// Server-sent events over fetch: unlike EventSource it can send a token, and sees why it was refused.

/// How long to wait before the first frame says how long.
const RETRY_MS = 1000;

/// Follows a stream until it ends or `signal` aborts, over every break: each frame goes to `onFrame`
/// as `{event, id, data}`, each change of the connection to `onState`.
export async function follow(url, { headers, signal, onFrame, onState }) {
  let last = "";
  let retry = RETRY_MS;
  while (!signal.aborted) {
    try {
      onState("connecting");
      const resume = last ? { "Last-Event-ID": last } : {};
      const response = await fetch(url, {
        headers: { ...headers, ...resume, Accept: "text/event-stream" },
        cache: "no-store",
        signal,
      });
      if (response.status === 204) return onState("ended");
      if (!response.ok) {
        const problem = await response.json().catch(() => ({}));
        onState("refused", problem.detail ?? problem.title ?? `status ${response.status}`);
        if (response.status < 500 && response.status !== 429) return;
      } else {
        onState("open");
        for await (const frame of frames(response.body)) {
          last = frame.id || last;
          retry = frame.retry ?? retry;
          onFrame(frame);
          if (frame.event === "reveille.end") return onState("ended");
        }
      }
    } catch (error) {
      if (signal.aborted) return;
      onState("broken", error.message);
    }
    await new Promise((wake) => {
      const timer = setTimeout(wake, retry);
      signal.addEventListener("abort", () => (clearTimeout(timer), wake()), { once: true });
    });
  }
}

/// The blocks of a stream (HTML standard, section 9.2.6). Lines end with LF: the gateway writes no other.
async function* frames(body) {
  let rest = "";
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value: chunk } = await reader.read();
    if (done) return;
    const blocks = (rest + chunk).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) {
      const frame = { event: "message", id: "", data: "" };
      for (const line of block.split("\n")) {
        const colon = line.indexOf(":");
        const value = line.slice(colon + 1).replace(/^ /, "");
        if (line.startsWith("event:")) frame.event = value;
        if (line.startsWith("id:")) frame.id = value;
        if (line.startsWith("data:")) frame.data += value;
        if (line.startsWith("retry:")) frame.retry = Number(value);
      }
      if (frame.data) yield frame;
    }
  }
}
