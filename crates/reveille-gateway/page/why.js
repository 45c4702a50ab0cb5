// The wait-for graph of a signal, as a tree of what is pending.

import { ask } from "./api.js";

export async function showWhy(handle, place) {
  place.textContent = "asking …";
  place.classList.remove("failed");
  const path = `/v1/signals/${encodeURIComponent(handle)}`;
  try {
    const [info, why] = [await ask("GET", path), await ask("GET", `${path}/why`)];
    const said = document.createElement("p");
    said.textContent = info.poison ? `${info.status}: ${info.poison.reason}` : info.status;
    place.replaceChildren(said);
    if (why.pending.length > 0) place.append(tree(handle, why.pending));
    if (why.truncated) place.append("There is more than can be shown.");
  } catch (error) {
    place.classList.add("failed");
    place.textContent = error.message;
  }
}

/// A signal that several others wait for is shown below the first of them, and named below the rest.
function tree(root, pending) {
  const known = new Map(pending.map((signal) => [signal.handle, signal]));
  const shown = new Set();
  const list = (handles) => {
    const items = handles.map((handle) => {
      const item = document.createElement("li");
      const signal = known.get(handle);
      item.textContent = signal ? line(signal) : handle;
      const below = signal?.waits_for ?? [];
      if (below.length > 0 && !shown.has(handle)) {
        shown.add(handle);
        item.append(list(below));
      }
      return item;
    });
    const all = document.createElement("ul");
    all.append(...items);
    return all;
  };
  return list(known.has(root) ? [root] : pending.map((signal) => signal.handle));
}

function line({ handle, name, owed_by: owner, since, mode }) {
  const parts = [name ?? handle];
  if (mode) parts.push(`merge, ${mode}`);
  if (owner) parts.push(`owed by ${owner}`);
  if (since) parts.push(`since ${new Date(since).toLocaleTimeString()}`);
  return parts.join(", ");
}
