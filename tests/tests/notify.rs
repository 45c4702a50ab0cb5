//! `POST /events`: notifications in protobuf, from processes that know nothing else.

#![expect(clippy::unwrap_used, reason = "what fails here fails the test")]

use reqwest::{Client, Response};
use reveille_e2e::{Server, with_key};
use reveille_gateway::{Action, GatewayConfig, Grant};
use reveille_types::data::AgentMessage;
use reveille_types::wire::{NotifiedEvent, NotifyRequest};
use serde_json::{Value, json};

fn said(agent: &str) -> AgentMessage {
    AgentMessage {
        agent_id: agent.into(),
        status: "success".into(),
        changes: vec!["a.rs".into()],
        message: "ready".into(),
    }
}

fn message(session: &str) -> Vec<u8> {
    let request = NotifyRequest {
        session: session.into(),
        event: NotifiedEvent::AgentMessage(said("w1")),
    };
    request.encode()
}

async fn send(server: &Server, body: impl Into<Vec<u8>>) -> Response {
    let sent = Client::new().post(server.at("/events")).body(body.into());
    sent.send().await.unwrap()
}

async fn stored(server: &Server, session: &str) -> Value {
    let asked = Client::new().get(server.at(&format!("/v1/sessions/{session}/events")));
    let asked = asked.header("accept", "application/json");
    asked.send().await.unwrap().json().await.unwrap()
}

/// 000-F15.
#[tokio::test]
async fn f000_15_a_notification_is_stored_and_what_is_none_is_told_by_its_text() {
    let server = Server::start().await;
    let answer = send(&server, message("run")).await;
    assert_eq!(answer.status(), 200);
    let cursor = answer.headers()["reveille-cursor"].clone();
    assert_eq!(answer.text().await.unwrap(), "OK");
    let page = stored(&server, "run").await;
    assert_eq!(page["cursor"], cursor.to_str().unwrap());
    let event = &page["events"][0];
    assert_eq!(event["type"], "agent.message");
    assert_eq!(event["reveilleagent"], "w1");
    let data =
        json!({"agent_id": "w1", "status": "success", "changes": ["a.rs"], "message": "ready"});
    assert_eq!(event["data"], data);

    for (body, text) in [
        (&b"\x0a\x03run"[..], "Missing event"),
        (b"", "Missing event"),
        (b"\x0a\x03run\x12\x00", "Missing event"),
        (b"{\"type\":\"a\"}", "Invalid protobuf"),
        (b"\x0a\x7frun", "Invalid protobuf"),
    ] {
        let answer = send(&server, body).await;
        assert_eq!(answer.status(), 400, "{body:?}");
        assert_eq!(answer.text().await.unwrap(), text, "{body:?}");
    }
    assert_eq!(stored(&server, "run").await["events"][1], Value::Null);
}

#[tokio::test]
async fn a_notification_is_under_the_rules_of_every_publish() {
    let mut config = GatewayConfig::default();
    config.body_bytes = 1_000;
    let server = Server::with(config).await;
    let code = async |answer: Response| {
        let status = answer.status().as_u16();
        let problem: Value = answer.json().await.unwrap();
        (status, problem["code"].as_str().unwrap().to_owned())
    };
    let refused = |status, code: &str| (status, code.to_owned());
    // A timeout is for the server to say.
    let timeout = NotifyRequest {
        session: "run".into(),
        event: NotifiedEvent::Timeout,
    };
    let answer = send(&server, timeout.encode()).await;
    assert_eq!(code(answer).await, refused(422, "reserved_kind"));
    let answer = send(&server, message("system/control")).await;
    assert_eq!(code(answer).await, refused(403, "reserved_name"));
    let answer = send(&server, message("no such name")).await;
    assert_eq!(code(answer).await, refused(400, "invalid_session"));
    let answer = send(&server, vec![b'x'; 1_001]).await;
    assert_eq!(code(answer).await, refused(413, "body_too_large"));
    let typed = Client::new().post(server.at("/events")).body(message("s"));
    let typed = typed.header("content-type", "text/plain").send().await;
    assert_eq!(
        code(typed.unwrap()).await,
        refused(415, "unsupported_media_type")
    );
    assert!(server.sessions.is_empty());

    // The session is the default one if none is named, in another namespace if that is.
    let with = |path: &str, key: &str| {
        let sent = Client::new().post(server.at(path)).body(message(""));
        sent.header("idempotency-key", key.to_owned()).send()
    };
    for _ in 0..2 {
        assert_eq!(with("/events", "once").await.unwrap().status(), 200);
    }
    let other = with("/events?namespace=run", "once").await.unwrap();
    assert_eq!(other.status(), 200);
    for session in ["default", "run%2Fdefault"] {
        let page = stored(&server, session).await;
        assert_eq!(page["events"].as_array().unwrap().len(), 1, "{session}");
    }
    let close = Client::new().post(server.at("/v1/sessions/default/close"));
    close.send().await.unwrap();
    let answer = send(&server, message("default")).await;
    assert_eq!(code(answer).await, refused(409, "session_ended"));
}

/// 000-F16 and 000-D16: whoever notifies learns whether it was taken.
#[tokio::test]
async fn f000_16_a_remote_notifier_is_told_what_was_not_taken() {
    let grant = Grant {
        sessions: vec!["agent-*".parse().unwrap()],
        ..Grant::everything([Action::Publish])
    };
    let mut config = GatewayConfig::default();
    config.auto_create = Some(true);
    let (server, key) = with_key(config, "acme", vec![grant]).await;
    let known = reveille_client::Client::with_token(&server.url, key.expose()).unwrap();
    let unknown = reveille_client::Client::new(&server.url).unwrap();
    let failed = known
        .notify("system/control", said("w1"))
        .await
        .unwrap_err();
    assert_eq!(
        (failed.status(), failed.code()),
        (Some(403), "reserved_name")
    );
    let failed = known.notify("main", said("w1")).await.unwrap_err();
    assert_eq!(
        (failed.status(), failed.code()),
        (Some(403), "insufficient_scope")
    );
    let failed = unknown.notify("agent-7", said("w1")).await.unwrap_err();
    assert_eq!(
        (failed.status(), failed.code()),
        (Some(401), "missing_token")
    );
    assert!(server.sessions.is_empty());
    known.notify("agent-7", said("w1")).await.unwrap();
    assert_eq!(server.sessions.len(), 1);
}
