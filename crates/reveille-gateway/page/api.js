// Requests to the gateway this page came from.

/// The token is kept for this tab only.
const KEY = "reveille.token";

export function token() {
  return sessionStorage.getItem(KEY) ?? "";
}

export function useToken(text) {
  if (text) sessionStorage.setItem(KEY, text);
  else sessionStorage.removeItem(KEY);
}

export function headers() {
  return token() ? { Authorization: `Bearer ${token()}` } : {};
}

export function sessionPath(name, rest = "") {
  return `/v1/sessions/${encodeURIComponent(name)}${rest}`;
}

/// The answer as JSON, or null for 204. A refusal is thrown as what the gateway says of it.
export async function ask(method, path, body) {
  const json = body === undefined ? {} : { "Content-Type": "application/json" };
  const response = await fetch(path, {
    method,
    headers: { ...headers(), ...json, Accept: "application/json" },
    body: body === undefined ? undefined : JSON.stringify(body),
  });
  if (response.status === 204) return null;
  const answer = await response.json().catch(() => ({}));
  if (response.ok) return answer;
  const error = new Error(answer.detail ?? answer.title ?? `status ${response.status}`);
  error.status = response.status;
  throw error;
}
