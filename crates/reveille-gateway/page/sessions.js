// The list of sessions, kept up to date by the bus: whatever is published tells which session to look at.

import { ask, headers, sessionPath } from "./api.js";
import { follow } from "./stream.js";

/// A session that is busy is looked at this often at most.
const LOOK_MS = 500;
/// Sessions that are asked for at once.
const PAGE = 200;

export class Sessions {
  #rows = new Map();
  #due = new Set();
  #watching;

  constructor(table, empty, onFollow, onStatus) {
    this.table = table.tBodies[0];
    this.empty = empty;
    this.onFollow = onFollow;
    this.onStatus = onStatus;
  }

  /// Asks for everything anew, with the token that is in use now.
  restart() {
    this.#watching?.abort();
    this.#watching = new AbortController();
    this.#rows.clear();
    this.table.replaceChildren();
    const { signal } = this.#watching;
    follow("/v1/events", {
      headers: headers(),
      signal,
      // The list is read when the stream has begun, so that nothing falls in between.
      onState: (state, why) => this.#connected(state, why, signal),
      onFrame: ({ event, data }) => this.#seen(event, JSON.parse(data)),
    });
  }

  async #connected(state, why, signal) {
    this.onStatus(why ? `${state}: ${why}` : state, state === "refused" || state === "broken");
    if (state !== "open") return;
    try {
      let page = null;
      do {
        const query = new URLSearchParams({ limit: PAGE, ...(page && { page }) });
        const list = await ask("GET", `/v1/sessions?${query}`);
        if (signal.aborted) return;
        list.sessions.forEach((info) => this.#show(info));
        page = list.next_page;
      } while (page);
      this.empty.hidden = this.#rows.size > 0;
    } catch (error) {
      this.onStatus(error.message, true);
    }
  }

  #seen(event, data) {
    // What is missing may be about any session.
    if (event === "reveille.gap") for (const name of this.#rows.keys()) this.look(name);
    if (event === "message") this.look(data.reveillesession);
  }

  /// Shows what is true of a session now, soon.
  look(name) {
    if (this.#due.has(name)) return;
    this.#due.add(name);
    setTimeout(async () => {
      this.#due.delete(name);
      try {
        this.#show(await ask("GET", sessionPath(name)));
      } catch (error) {
        if (error.status === 404) this.#forget(name);
        else this.onStatus(error.message, true);
      }
    }, LOOK_MS);
  }

  #forget(name) {
    this.#rows.get(name)?.remove();
    this.#rows.delete(name);
    this.empty.hidden = this.#rows.size > 0;
  }

  #show(info) {
    const row = this.#rows.get(info.session) ?? this.#insert(info.session);
    const state = info.reason ?? (info.cancel ? `${info.state}, asked to stop` : info.state);
    const events = info.dropped ? `${info.retained} (+${info.dropped} dropped)` : info.retained;
    const texts = [state, events, info.subscribers, info.lag, info.waiters];
    texts.forEach((text, n) => (row.cells[n + 1].textContent = text));
    row.cells[6].textContent = new Date(info.last_activity_at).toLocaleTimeString();
  }

  #insert(name) {
    const row = document.createElement("tr");
    for (let n = 0; n < 7; n += 1) row.insertCell().className = n >= 2 && n <= 5 ? "number" : "";
    row.cells[6].className = "time";
    const button = document.createElement("button");
    button.textContent = name;
    button.addEventListener("click", () => this.onFollow(name));
    row.cells[0].append(button);
    // By name, as the gateway lists them.
    const after = [...this.#rows].find(([other]) => other > name)?.[1];
    this.table.insertBefore(row, after ?? null);
    this.#rows.set(name, row);
    this.#rows = new Map([...this.#rows].sort(([one], [other]) => (one < other ? -1 : 1)));
    this.empty.hidden = true;
    return row;
  }
}
