// The events of one session, newest last, with what is missing among them.

import { ask, headers, sessionPath } from "./api.js";
import { follow } from "./stream.js";

/// Rows that are kept on the page.
const ROWS = 500;

export class Following {
  #stop = new AbortController();
  #held = null;
  #latest = "";

  constructor(name, kinds, table, place, onEnd) {
    this.name = name;
    this.onEnd = onEnd;
    this.table = table;
    this.place = place;
    table.replaceChildren();
    this.#follow(kinds);
  }

  async #follow(kinds) {
    const query = new URLSearchParams({ after: await this.#begin() });
    kinds.forEach((kind) => query.append("match", kind));
    follow(sessionPath(this.name, `/events?${query}`), {
      headers: headers(),
      signal: this.#stop.signal,
      onState: (state, why) => this.#say(why ? `${state}: ${why}` : state),
      onFrame: (frame) => (this.#held ? this.#held.push(frame) : this.#show(frame)),
    });
  }

  /// Before the first event there ever was, so that what retention has dropped is told as a gap.
  async #begin() {
    try {
      const { latest } = await ask("GET", sessionPath(this.name));
      return `${latest.split(".")[0]}.0`;
    } catch {
      // The stream tells why, if it cannot be followed either.
      return "earliest";
    }
  }

  stop() {
    this.#stop.abort();
  }

  /// Holds what comes, or shows what was held. Whether it holds now.
  pause() {
    const held = this.#held;
    this.#held = held ? null : [];
    held?.forEach((frame) => this.#show(frame));
    return !held;
  }

  #say(state) {
    this.state = state;
    this.place.textContent = this.#latest ? `${state}, at ${this.#latest}` : state;
  }

  #show({ event, id, data }) {
    const record = JSON.parse(data);
    if (id) this.#latest = Number(id.split(".")[1]);
    switch (event) {
      case "message":
        this.#row("", position(record), time(record.time), record.type, payload(record));
        break;
      case "reveille.gap":
        this.#row("gap", ranges(record), "", "missing", missing(record));
        break;
      case "reveille.caught_up":
        this.#row("control", "", "", "live from here", "");
        break;
      case "reveille.end":
        this.#row("control", "", "", `ended: ${record.reason}`, "");
        this.onEnd(this.name);
        break;
      case "reveille.reconnect":
        this.#row("control", "", "", `connection ended: ${record.reason}`, "");
        break;
    }
    this.#say(event === "reveille.end" ? "ended" : "open");
  }

  #row(kind, ...texts) {
    const box = this.table.closest(".scroll");
    const atEnd = box.scrollHeight - box.scrollTop - box.clientHeight < 40;
    const row = this.table.insertRow();
    row.className = kind;
    texts.forEach((text, n) => {
      const cell = row.insertCell();
      cell.textContent = text;
      cell.className = ["number", "time", "", "data"][n];
    });
    if (this.table.rows.length > ROWS) this.table.deleteRow(0);
    if (atEnd) box.scrollTop = box.scrollHeight;
  }
}

function position(event) {
  return Number(event.reveilleposition);
}

function time(text) {
  const parts = { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3 };
  return text ? new Date(text).toLocaleTimeString(undefined, parts) : "";
}

function payload(event) {
  if (event.data !== undefined) return JSON.stringify(event.data);
  return event.data_base64 ? `base64 ${event.data_base64}` : "";
}

function ranges(gap) {
  return gap.ranges.map(([from, to]) => `${Number(from)}–${Number(to)}`).join(" ");
}

function missing(gap) {
  const count = gap.missed === null ? "an unknown number of" : gap.missed;
  return `${count} events are missing: ${gap.reason}`;
}
