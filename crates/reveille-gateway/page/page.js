// Watch sessions, follow one, publish, wait, cancel, and see what a signal waits for.

import { ask, sessionPath, token, useToken } from "./api.js";
import { Following } from "./following.js";
import { Sessions } from "./sessions.js";
import { showWhy } from "./why.js";

const at = (id) => document.getElementById(id);
const sessions = new Sessions(at("sessions"), at("no-sessions"), follow, say);
let following;

function say(text, failed = false) {
  at("status").textContent = text;
  at("status").classList.toggle("failed", failed);
}

/// Tells what came of a request in the section of the session.
async function tell(doing, done) {
  const outcome = at("outcome");
  outcome.classList.remove("failed");
  outcome.textContent = `${doing} …`;
  try {
    outcome.textContent = await done();
  } catch (error) {
    outcome.classList.add("failed");
    outcome.textContent = `${doing}: ${error.message}`;
  }
}

function follow(name) {
  following?.stop();
  at("following").hidden = false;
  at("followed").textContent = name;
  at("outcome").textContent = "";
  at("pause").setAttribute("aria-pressed", "false");
  const kinds = at("match").value.split(/[\s,]+/).filter(Boolean);
  following = new Following(name, kinds, at("events").tBodies[0], at("place"), (ended) =>
    sessions.look(ended),
  );
  history.replaceState(null, "", `#${encodeURIComponent(name)}`);
}

function on(id, submit) {
  at(id).addEventListener("submit", (event) => {
    event.preventDefault();
    submit();
  });
}

on("token-form", () => {
  useToken(at("token").value.trim());
  at("token").value = "";
  at("token").placeholder = token() ? "in use" : "none";
  sessions.restart();
  if (following) follow(following.name);
});

on("open-form", () => follow(at("session-name").value.trim()));

on("match-form", () => follow(following.name));

at("pause").addEventListener("click", () => {
  at("pause").setAttribute("aria-pressed", String(following.pause()));
});

on("publish-form", () =>
  tell("Publishing", async () => {
    const text = at("publish-data").value.trim();
    const event = { type: at("publish-type").value.trim() };
    if (text) event.data = JSON.parse(text);
    const receipt = await ask("POST", sessionPath(following.name, "/events"), event);
    return `Published: the log ends at ${receipt.cursor} now.`;
  }),
);

on("wait-form", () =>
  tell("Waiting", async () => {
    const query = new URLSearchParams({
      match: at("wait-match").value.trim(),
      after: "latest",
      timeout: at("wait-timeout").value.trim() || "25s",
    });
    const answer = await ask("GET", sessionPath(following.name, `/wait?${query}`));
    if (!answer) return "The time was up: nothing matched.";
    if (answer.outcome === "ended") return `The session ended: ${answer.reason}.`;
    return `Matched: ${answer.events.map((event) => event.type).join(", ")}.`;
  }),
);

on("cancel-form", () =>
  tell("Cancelling", async () => {
    const reason = at("cancel-reason").value.trim();
    const body = reason ? { reason } : {};
    const answer = await ask("POST", sessionPath(following.name, "/cancel"), body);
    return answer.already_cancelled ? "It had been asked to stop before." : "It was asked to stop.";
  }),
);

on("why-form", () => showWhy(at("handle").value.trim(), at("why")));

at("token").placeholder = token() ? "in use" : "none";
sessions.restart();
if (location.hash.length > 1) follow(decodeURIComponent(location.hash.slice(1)));
