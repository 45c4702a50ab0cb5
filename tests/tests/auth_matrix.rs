//! Every route with every sort of credential. A route that is not in the table fails the test.
//!
//! tidy: long because the table has every route.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use std::sync::Arc;

use reqwest::{Client, Method, RequestBuilder, Response};
use reveille_e2e::{Server, add_key};
use reveille_gateway::{
    Action, AuthConfig, Gateway, GatewayConfig, Grant, Rate, Secret, StaticAuthorizer,
};
use reveille_types::SessionKey;
use serde_json::{Value, json};

/// What every challenge says of where it can be learned who issues tokens.
const METADATA: &str = "/.well-known/oauth-protected-resource\"";

/// A route, a request to it, and what those get who may send it.
struct Row {
    method: &'static str,
    path: &'static str,
    url: &'static str,
    body: Value,
    /// With the right.
    right: u16,
    /// With all rights, but of another tenant, who has no session `s`.
    foreign: u16,
    /// With the right in other sessions only; 0 where sessions do not matter.
    elsewhere: u16,
}

const fn row(
    method: &'static str,
    path: &'static str,
    url: &'static str,
    statuses: [u16; 3],
) -> Row {
    let [right, foreign, elsewhere] = statuses;
    Row {
        method,
        path,
        url,
        body: Value::Null,
        right,
        foreign,
        elsewhere,
    }
}

impl Row {
    fn with(mut self, body: Value) -> Self {
        self.body = body;
        self
    }
}

/// `{handle}` in a URL is a signal of the tenant.
fn table() -> Vec<Row> {
    let secret = || json!({"secret": "not the secret"});
    vec![
        row("GET", "/", "/", [200, 200, 0]),
        row("GET", "/page/{file}", "/page/page.js", [200, 200, 0]),
        row("GET", "/healthz", "/healthz", [200, 200, 0]),
        row("GET", "/readyz", "/readyz", [200, 200, 0]),
        row("GET", "/openapi.json", "/openapi.json", [200, 200, 0]),
        row(
            "GET",
            "/.well-known/oauth-protected-resource",
            "/.well-known/oauth-protected-resource",
            [200, 200, 0],
        ),
        row("GET", "/metrics", "/metrics", [200, 200, 0]),
        row("GET", "/v1/limits", "/v1/limits", [200, 200, 0]),
        row("GET", "/v1/stats", "/v1/stats", [200, 200, 0]),
        row("GET", "/v1/events", "/v1/events", [200, 200, 200]),
        row(
            "POST",
            "/v1/events:query",
            "/v1/events:query",
            [200, 200, 200],
        )
        .with(json!({})),
        row("QUERY", "/v1/events", "/v1/events", [200, 200, 200]).with(json!({})),
        row("GET", "/v1/sessions", "/v1/sessions", [200, 200, 200]),
        row(
            "PUT",
            "/v1/sessions/{session}",
            "/v1/sessions/s",
            [200, 201, 403],
        )
        .with(json!({})),
        row(
            "GET",
            "/v1/sessions/{session}",
            "/v1/sessions/s",
            [200, 404, 403],
        ),
        row(
            "DELETE",
            "/v1/sessions/{session}",
            "/v1/sessions/s",
            [204, 404, 403],
        ),
        row(
            "GET",
            "/v1/sessions/{session}/events",
            "/v1/sessions/s/events",
            [200, 404, 403],
        ),
        row(
            "POST",
            "/v1/sessions/{session}/events",
            "/v1/sessions/s/events",
            [201, 404, 403],
        )
        .with(json!({"type": "a"})),
        row(
            "POST",
            "/v1/sessions/{session}/events:query",
            "/v1/sessions/s/events:query",
            [200, 404, 403],
        )
        .with(json!({})),
        row(
            "QUERY",
            "/v1/sessions/{session}/events",
            "/v1/sessions/s/events",
            [200, 404, 403],
        )
        .with(json!({})),
        row(
            "OPTIONS",
            "/v1/sessions/{session}/events",
            "/v1/sessions/s/events",
            [204, 204, 0],
        ),
        row(
            "GET",
            "/v1/sessions/{session}/wait",
            "/v1/sessions/s/wait?timeout=1ms",
            [200, 404, 403],
        ),
        row(
            "POST",
            "/v1/sessions/{session}/take",
            "/v1/sessions/s/take",
            [200, 404, 403],
        )
        .with(json!({"timeout_ms": 1})),
        row(
            "POST",
            "/v1/sessions/{session}/ack",
            "/v1/sessions/s/ack",
            [200, 404, 403],
        )
        .with(json!({"leases": []})),
        row(
            "POST",
            "/v1/sessions/{session}/nack",
            "/v1/sessions/s/nack",
            [200, 404, 403],
        )
        .with(json!({"leases": []})),
        row(
            "GET",
            "/v1/sessions/{session}/groups/{group}",
            "/v1/sessions/s/groups/g",
            [404, 404, 403],
        ),
        row(
            "POST",
            "/v1/sessions/{session}/groups/{group}/skip",
            "/v1/sessions/s/groups/g/skip",
            [200, 404, 403],
        )
        .with(json!({"to": "latest"})),
        row(
            "GET",
            "/v1/sessions/{session}/groups/{group}/dead-letters",
            "/v1/sessions/s/groups/g/dead-letters",
            [200, 404, 403],
        ),
        row(
            "POST",
            "/v1/sessions/{session}/groups/{group}/dead-letters",
            "/v1/sessions/s/groups/g/dead-letters",
            [200, 404, 403],
        )
        .with(json!({"retry": [0]})),
        row(
            "POST",
            "/v1/sessions/{session}/cancel",
            "/v1/sessions/s/cancel",
            [200, 404, 403],
        ),
        row(
            "POST",
            "/v1/sessions/{session}/close",
            "/v1/sessions/s/close",
            [200, 404, 403],
        ),
        row("POST", "/v1/signals", "/v1/signals", [201, 201, 0]).with(json!({})),
        row(
            "POST",
            "/v1/signals:merge",
            "/v1/signals:merge",
            [201, 404, 0],
        )
        .with(json!({"inputs": ["{handle}"]})),
        row(
            "GET",
            "/v1/signals/{handle}",
            "/v1/signals/{handle}",
            [200, 404, 0],
        ),
        row(
            "GET",
            "/v1/signals/{handle}/why",
            "/v1/signals/{handle}/why",
            [200, 404, 0],
        ),
        // Behind the right there is the secret.
        row(
            "POST",
            "/v1/signals/{handle}/renew",
            "/v1/signals/{handle}/renew",
            [403, 404, 0],
        )
        .with(secret()),
        row(
            "POST",
            "/v1/signals/{handle}/trigger",
            "/v1/signals/{handle}/trigger",
            [403, 404, 0],
        )
        .with(secret()),
        row(
            "POST",
            "/v1/signals/{handle}/poison",
            "/v1/signals/{handle}/poison",
            [403, 404, 0],
        )
        .with(json!({"secret": "not the secret", "reason": "r"})),
        row(
            "POST",
            "/v1/signals/{handle}/cancel",
            "/v1/signals/{handle}/cancel",
            [403, 404, 0],
        )
        .with(secret()),
        row("POST", "/v1/tickets", "/v1/tickets", [201, 201, 403]).with(json!({"session": "s"})),
        row(
            "POST",
            "/v1/connections/{id}/token",
            "/v1/connections/7/token",
            [404, 404, 0],
        ),
        // In protobuf: to session `s`, what agent `w` has to say.
        row("POST", "/events", "/events", [200, 404, 403])
            .with(json!("\n\u{1}s\u{12}\u{5}\n\u{3}\n\u{1}w")),
        row(
            "GET",
            "/events/workflows/{id}",
            "/events/workflows/w",
            [200, 404, 403],
        ),
        row(
            "GET",
            "/events/ingestion/{id}",
            "/events/ingestion/i",
            [200, 404, 403],
        ),
        row(
            "POST",
            "/events/workflows/{id}/cancel",
            "/events/workflows/w/cancel",
            [200, 404, 403],
        ),
        row(
            "POST",
            "/events/ingestion/{id}/cancel",
            "/events/ingestion/i/cancel",
            [200, 404, 403],
        ),
        row(
            "GET",
            "/events/queues",
            "/events/queues?tenant_id=acme",
            [200, 200, 200],
        ),
        row(
            "GET",
            "/events/queues/{id}",
            "/events/queues/w",
            [200, 404, 403],
        ),
        row(
            "GET",
            "/events/queues/{id}/offset",
            "/events/queues/w/offset",
            [200, 404, 403],
        ),
    ]
}

/// A server with keys for each right alone, all rights but one, and so on.
struct Known {
    server: Server,
    handle: String,
    keys: Vec<(String, Secret)>,
}

const PAGE: &str = "https://page.example";

async fn known() -> Known {
    let mut auth = AuthConfig::default();
    let mut keys = Vec::new();
    let mut add = |id: String, tenant: &str, grants: Vec<Grant>| {
        let key = add_key(&mut auth, &id, tenant, grants);
        keys.push((id, key));
    };
    for action in Action::ALL {
        let word = action.as_str();
        add(
            format!("only-{word}"),
            "acme",
            vec![Grant::everything([action])],
        );
        let others = Action::ALL.into_iter().filter(|other| *other != action);
        add(
            format!("all-but-{word}"),
            "acme",
            vec![Grant::everything(others)],
        );
    }
    let elsewhere = Grant {
        sessions: vec![
            "other-*".parse().unwrap(),
            "workflow/other-*".parse().unwrap(),
        ],
        ..Grant::everything(Action::ALL)
    };
    add("elsewhere".into(), "acme", vec![elsewhere]);
    add("nothing".into(), "acme", Vec::new());
    add(
        "foreign".into(),
        "rival",
        vec![Grant::everything(Action::ALL)],
    );

    let mut config = GatewayConfig::default();
    config.origins = vec![PAGE.to_owned()];
    config.traffic.failures = Rate::per_second(1_000_000, 1_000_000);
    config.traffic.anonymous = Rate::per_second(1_000_000, 1_000_000);
    let authorizer = StaticAuthorizer::new(auth).unwrap();
    let server = Server::for_known(config, Arc::new(authorizer)).await;
    for name in ["s", "workflow/w", "ingestion/i"] {
        let key = SessionKey::in_tenant("acme".parse().unwrap(), name).unwrap();
        let log = server
            .sessions
            .create(key, Default::default())
            .await
            .unwrap();
        let draft = reveille_types::decode_event(r#"{"type":"first"}"#).unwrap();
        log.append(vec![draft], Default::default()).await.unwrap();
    }
    let mut known = Known {
        server,
        handle: String::new(),
        keys,
    };
    let created = known.request("POST", "/v1/signals", &json!({}));
    let created = created
        .bearer_auth(known.key("only-trigger"))
        .send()
        .await
        .unwrap();
    let created: Value = created.json().await.unwrap();
    known.handle = created["handle"].as_str().unwrap().to_owned();
    known
}

impl Known {
    fn key(&self, id: &str) -> &str {
        let found = self.keys.iter().find(|(known, _)| known == id);
        found.unwrap().1.expose()
    }

    fn request(&self, method: &str, url: &str, body: &Value) -> RequestBuilder {
        let url = self.server.at(&url.replace("{handle}", &self.handle));
        let request = Client::new().request(Method::from_bytes(method.as_bytes()).unwrap(), url);
        match body {
            Value::Null => request,
            // No JSON, whatever its bytes are.
            Value::String(bytes) => request
                .header("content-type", "application/x-protobuf")
                .body(bytes.clone()),
            body => {
                let body = body.to_string().replace("{handle}", &self.handle);
                request
                    .header("content-type", "application/json")
                    .body(body)
            }
        }
    }

    fn of(&self, row: &Row) -> RequestBuilder {
        self.request(row.method, row.url, &row.body)
            .header("accept", "application/json, text/event-stream;q=0.5")
    }

    /// What the tenant has.
    fn state(&self) -> String {
        let list = reveille_queue::ListOptions::first(100);
        let list = self.server.sessions.list(&"acme".parse().unwrap(), &list);
        let ends = list
            .sessions
            .iter()
            .map(|s| (s.session.clone(), s.latest, s.state, s.cancel.is_some()));
        format!("{:?}", ends.collect::<Vec<_>>())
    }
}

async fn status(request: RequestBuilder) -> u16 {
    let answer: Response = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let challenge = answer.headers().get("www-authenticate").cloned();
    assert_eq!(
        challenge.is_some(),
        status == 401 || is_scope(&challenge),
        "{status}"
    );
    if status == 401 {
        let challenge = challenge.unwrap();
        let says_who_issues = challenge.to_str().unwrap().contains(METADATA);
        assert!(says_who_issues, "{challenge:?}");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["status"], 401);
        assert!(problem["code"] == "invalid_token" || problem["code"] == "missing_token");
    }
    status
}

fn is_scope(challenge: &Option<reqwest::header::HeaderValue>) -> bool {
    let text = challenge.as_ref().map(|c| c.to_str().unwrap());
    text.is_some_and(|text| text.contains("insufficient_scope"))
}

#[tokio::test]
async fn every_route_is_in_the_table_and_nothing_else() {
    let rows = table();
    let mut listed: Vec<String> = rows
        .iter()
        .map(|r| format!("{} {}", r.method, r.path))
        .collect();
    let routes = Gateway::routes();
    let mut known: Vec<String> = routes
        .iter()
        .map(|r| format!("{} {}", r.method, r.path))
        .collect();
    listed.sort();
    known.sort();
    assert_eq!(listed, known);
}

#[tokio::test]
async fn who_is_not_known_gets_nothing_anywhere() {
    let known = known().await;
    let before = known.state();
    for (row, route) in pairs() {
        let expected = if route.open { row.right } else { 401 };
        let name = format!("{} {}", row.method, row.path);
        assert_eq!(status(known.of(&row)).await, expected, "{name}: none");
        for wrong in [
            "Bearer garbage",
            "Bearer rvk_only-admin_guess",
            "Bearer e30.e30.e30",
            "Bearer ",
            "Basic YTpi",
        ] {
            let request = known.of(&row).header("authorization", wrong);
            assert_eq!(status(request).await, expected, "{name}: {wrong}");
        }
    }
    assert_eq!(known.state(), before);
}

#[tokio::test]
async fn a_right_opens_its_own_routes_and_no_other() {
    for (row, route) in pairs() {
        let name = format!("{} {}", row.method, row.path);
        let known = known().await;
        let before = known.state();
        let Some(right) = route.right else {
            let nothing = known.of(&row).bearer_auth(known.key("nothing"));
            assert_eq!(status(nothing).await, row.right, "{name}: any credential");
            continue;
        };
        let wrong = known.key(&format!("all-but-{}", right.as_str()));
        for (credential, expected) in [
            (wrong, 403),
            (known.key("nothing"), 403),
            (known.key("foreign"), row.foreign),
        ] {
            let found = status(known.of(&row).bearer_auth(credential)).await;
            assert_eq!(found, expected, "{name}");
        }
        if row.elsewhere != 0 {
            let found = status(known.of(&row).bearer_auth(known.key("elsewhere"))).await;
            assert_eq!(found, row.elsewhere, "{name}: in other sessions");
        }
        assert_eq!(known.state(), before, "{name}");
        let own = known.key(&format!("only-{}", right.as_str()));
        let found = status(known.of(&row).bearer_auth(own)).await;
        assert_eq!(found, row.right, "{name}: with its right");
    }
}

#[tokio::test]
async fn a_credential_stands_in_one_place_that_is_meant_for_it() {
    for (row, route) in pairs() {
        if route.open {
            continue;
        }
        let name = format!("{} {}", row.method, row.path);
        let known = known().await;
        let id = route
            .right
            .map_or("nothing".into(), |r| format!("only-{}", r.as_str()));
        let key = known.key(&id);
        let cookie = format!("a=b; __Secure-reveille_token={key}");
        let with_query = |name: &str, value: &str| {
            let mark = if row.url.contains('?') { '&' } else { '?' };
            let url = format!("{}{mark}{name}={value}", row.url);
            known.request(row.method, &url, &row.body)
        };
        // Pages send JSON only.
        let of_page = |status| if row.body.is_string() { 415 } else { status };
        let cookied = || known.of(&row).header("cookie", &cookie);
        assert_eq!(
            status(cookied()).await,
            403,
            "{name}: cookie without origin"
        );
        let from_elsewhere = cookied()
            .header("origin", "https://evil.example")
            .header("content-type", "application/json");
        assert_eq!(
            status(from_elsewhere).await,
            of_page(403),
            "{name}: cookie of another page"
        );
        let two = cookied()
            .header("origin", PAGE)
            .header("content-type", "application/json");
        assert_eq!(
            status(two.bearer_auth(key)).await,
            of_page(400),
            "{name}: two credentials"
        );
        let in_query = with_query("access_token", key);
        assert_eq!(status(in_query).await, 400, "{name}: token in the query");
        let lone = status(with_query("ticket", "0123")).await;
        assert_eq!(lone, 401, "{name}: a ticket that is none");
        let both = with_query("ticket", "0123").bearer_auth(key);
        assert_eq!(status(both).await, 400, "{name}: ticket and token");
        let page = cookied().header("origin", PAGE);
        let page = match row.body {
            Value::Null => page.header("content-type", "application/json"),
            _ => page,
        };
        assert_eq!(
            status(page).await,
            of_page(row.right),
            "{name}: cookie of our page"
        );
    }
}

#[tokio::test]
async fn a_ticket_opens_the_stream_of_its_session_and_nothing_else() {
    let known = known().await;
    let asked = known.request(
        "POST",
        "/v1/tickets",
        &json!({"session": "s", "match": ["first"], "ttl_ms": 60_000}),
    );
    let created = asked
        .bearer_auth(known.key("only-subscribe"))
        .send()
        .await
        .unwrap();
    assert_eq!(created.status(), 201);
    let ticket: Value = created.json().await.unwrap();
    let ticket = ticket["ticket"].as_str().unwrap();
    for (row, route) in pairs() {
        if route.open {
            continue;
        }
        let mark = if row.url.contains('?') { '&' } else { '?' };
        let url = format!("{}{mark}ticket={ticket}", row.url);
        let expected = match row.path {
            "/v1/sessions/{session}/events" if row.method == "GET" => 200,
            "/v1/events" if row.method == "GET" => 200,
            _ if route.tickets => 403,
            _ => 401,
        };
        let found = status(known.request(row.method, &url, &row.body)).await;
        assert_eq!(found, expected, "{} {}", row.method, row.path);
    }
    let other = format!("/v1/sessions/s/events?match=second&ticket={ticket}");
    assert_eq!(
        status(known.request("GET", &other, &Value::Null)).await,
        403
    );
}

/// Rows with the routes that they are of.
fn pairs() -> Vec<(Row, reveille_gateway::Route)> {
    let routes = Gateway::routes();
    table()
        .into_iter()
        .map(|row| {
            let of_row =
                |r: &&reveille_gateway::Route| r.method == row.method && r.path == row.path;
            let route = routes.iter().find(of_row).unwrap().clone();
            (row, route)
        })
        .collect()
}
