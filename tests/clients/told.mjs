// What every client tells its test: one line of JSON per event, in the order in which its library gave
// them.

export const FRAMES = ["open", "gap", "caught_up", "bookmark", "reconnect", "end"].map(
  (name) => `reveille.${name}`,
);

export function tell(event, id, data) {
  process.stdout.write(`${JSON.stringify({ event, id: id ?? "", data })}\n`);
}

/// For libraries with the interface of the browser's EventSource.
export function follow(source) {
  source.onmessage = (event) => tell("message", event.lastEventId, event.data);
  for (const name of FRAMES) {
    source.addEventListener(name, (event) => {
      tell(name, event.lastEventId, event.data);
      if (name === "reveille.end") {
        source.close();
        process.exit(0);
      }
    });
  }
}
