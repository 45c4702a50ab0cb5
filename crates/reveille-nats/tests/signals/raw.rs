//! A peer that speaks as a test tells it to: the messages as they are documented, and broken ones.

use std::time::Duration;

use async_nats::{Client, Subscriber};
use futures_util::StreamExt;
use reveille_core::{PoisonKind, SignalHandle, SignalRequest, SignalStatus};
use serde_json::{Value, json};

use crate::common::server::Server;
use crate::nodes::{end, loose, node, soon, until};

/// The digits of an id.
pub(crate) fn id(id: u64) -> String {
    format!("{id:016x}")
}

/// A node that is not one.
pub(crate) struct Peer {
    client: Client,
    inbox: Subscriber,
    system: u64,
    run: u64,
}

impl Peer {
    pub(crate) async fn join(server: &Server, system: u64, run: u64) -> Self {
        let client = async_nats::connect(server.url()).await.unwrap();
        let subject = format!("reveille.signals.v1.{}", id(system));
        let inbox = client.subscribe(subject).await.unwrap();
        // Once this is answered, the broker has the subscription.
        let nobody = client.request("nobody", "".into()).await;
        assert!(nobody.is_err());
        Self {
            client,
            inbox,
            system,
            run,
        }
    }

    pub(crate) async fn say_text(&self, to: u64, text: impl Into<Vec<u8>>) {
        let subject = format!("reveille.signals.v1.{}", id(to));
        self.client
            .publish(subject, text.into().into())
            .await
            .unwrap();
        self.client.flush().await.unwrap();
    }

    pub(crate) async fn say(&self, to: u64, body: Value) {
        self.say_as(self.run, to, body).await;
    }

    pub(crate) async fn say_as(&self, run: u64, to: u64, body: Value) {
        let message = json!({
            "v": 1, "from": id(self.system), "run": id(run), "clock": 0, "body": body,
        });
        self.say_text(to, message.to_string()).await;
    }

    pub(crate) async fn hear_all(&mut self) -> Value {
        let message = soon(self.inbox.next()).await.unwrap();
        serde_json::from_slice(&message.payload).unwrap()
    }

    /// The next message of this kind, and from whom it is.
    pub(crate) async fn hear(&mut self, kind: &str) -> Value {
        loop {
            let mut message = self.hear_all().await;
            if let Some(body) = message["body"].get_mut(kind) {
                return body.take();
            }
        }
    }

    /// Waits until this signal is asked for.
    async fn hear_watch(&mut self, handle: SignalHandle) {
        let text = json!(handle);
        while !self.hear("watch").await["handles"]
            .as_array()
            .unwrap()
            .contains(&text)
        {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d018_reports_in_reverse_order_reach_their_own_generation() {
    let server = Server::start();
    let mut owner = Peer::join(&server, 9, 1).await;
    let here = node::<u32>(&server, 2).await;
    let old = SignalHandle::from_raw((9 << 64) | 1);
    let new = old.with_generation(2);
    let (of_old, of_new) = (
        here.system().awaiter(old).unwrap(),
        here.system().awaiter(new).unwrap(),
    );
    owner.hear_watch(new).await;
    let triggered = json!({"handle": new, "end": {"triggered": {"value": 8}}});
    owner.say(2, json!({"report": {"ends": [triggered]}})).await;
    assert_eq!(soon(of_new).await, Ok(8));
    assert_eq!(here.system().poll(old), Ok(SignalStatus::Pending));

    let cause = json!({"handle": old, "kind": "explicit", "reason": "broken"});
    let failed = json!({"handle": old, "count": 1, "causes": [cause]});
    let failed = json!({"handle": old, "end": {"failed": failed}});
    owner.say(2, json!({"report": {"ends": [failed]}})).await;
    assert_eq!(soon(of_old).await.unwrap_err().reason(), "broken");
    assert_eq!(end(&here, new).await, Ok(8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_tells_how_signals_of_others_ended() {
    let server = Server::start();
    let mut owner = Peer::join(&server, 9, 1).await;
    let liar = Peer::join(&server, 8, 1).await;
    let here = node::<()>(&server, 2).await;
    let handle = SignalHandle::from_raw((9 << 64) | 1);
    let awaiter = here.system().awaiter(handle).unwrap();
    owner.hear_watch(handle).await;
    let report = |end: Value| json!({"report": {"ends": [{"handle": handle, "end": end}]}});
    liar.say(2, report(json!({"done": {}}))).await;
    // A round trip from the same peer, so that the lie has arrived.
    until(|| here.stats().received >= 1).await;
    let error = json!({"code": "outcome_forgotten"});
    owner.say(2, report(json!({"refused": error}))).await;
    assert_eq!(soon(awaiter).await.unwrap_err().kind(), PoisonKind::Refused);
    assert_eq!(here.system().poll(handle), Ok(SignalStatus::Pending));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d015_repeated_request_has_its_effect_once_and_the_same_answer() {
    let server = Server::start();
    let owner = node::<u32>(&server, 1).await;
    let mut peer = Peer::join(&server, 9, 1).await;
    let handle = loose(&owner);
    let ask = |id: u64, by: u64| {
        let trigger = json!({"trigger": {"value": id}});
        json!({"request": {"id": id, "handle": handle, "by": by, "ask": trigger}})
    };
    peer.say(1, json!({"hello": {}})).await;
    let clock = peer.hear_all().await["clock"].as_u64().unwrap();
    let done = json!({"done": {}});
    let already = json!({"refused": {"code": "already_triggered"}});
    for (id, answer) in [
        (1, &done),
        (1, &done),
        (2, &already),
        (1, &done),
        (2, &already),
    ] {
        peer.say(1, ask(id, clock + 60_000)).await;
        let answered = peer.hear("answer").await;
        assert_eq!((&answered["id"], &answered["answer"]), (&json!(id), answer));
    }
    assert_eq!(end(&owner, handle).await, Ok(1));

    // Of another life of the peer it is another request.
    peer.say_as(2, 1, ask(1, clock + 60_000)).await;
    assert_eq!(peer.hear("answer").await["answer"], already);
    let stats = owner.stats();
    assert_eq!((stats.answers, stats.late), (3, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn request_that_comes_late_or_holds_too_long_has_no_effect() {
    let server = Server::start();
    let owner = node::<u32>(&server, 1).await;
    let mut peer = Peer::join(&server, 9, 1).await;
    let handle = loose(&owner);
    let cancel = json!({"cancel": {"reason": "late"}});
    let ask = |by: u64| json!({"request": {"id": 1, "handle": handle, "by": by, "ask": cancel}});
    // The owner's clock has gone on by then.
    tokio::time::sleep(Duration::from_millis(5)).await;
    peer.say(1, ask(1)).await;
    assert_eq!(peer.hear("answer").await["answer"], json!({"late": {}}));
    peer.say(1, ask(u64::MAX)).await;
    until(|| owner.stats().no_room == 1).await;
    assert_eq!(owner.stats().late, 1);
    assert_eq!(owner.system().poll(handle), Ok(SignalStatus::Pending));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn malformed_messages_are_counted_and_passed_over() {
    let server = Server::start();
    let owner = node::<u32>(&server, 1).await;
    let mut peer = Peer::join(&server, 9, 1).await;
    let texts: [&[u8]; 8] = [
        b"",
        b"\xff\xfe\x00",
        b"{}",
        b"[[[[[[[[",
        b"{\"v\":2}",
        b"{\"v\":1,\"from\":9,\"run\":1,\"clock\":0,\"body\":{\"bye\":{}}}",
        b"{\"v\":1,\"from\":\"0000000000000009\",\"run\":\"0000000000000001\",\"clock\":-1,\
          \"body\":{\"bye\":{}}}",
        b"{\"v\":1,\"from\":\"0000000000000009\",\"run\":\"0000000000000001\",\"clock\":0,\
          \"body\":{\"sing\":{}}}",
    ];
    for text in texts {
        peer.say_text(1, text).await;
    }
    let deep = "[".repeat(100_000);
    peer.say_text(1, deep).await;
    until(|| owner.stats().malformed == 9).await;

    // Well formed, and of no sense.
    let handle = loose(&owner);
    let foreign = SignalHandle::from_raw((5 << 64) | 1);
    for body in [
        json!({"watch": {"handles": [], "ttl_ms": u64::MAX}}),
        json!({"unwatch": {"handles": [handle, foreign]}}),
        json!({"answer": {"id": 5, "answer": {"done": {}}}}),
        json!({"here": {}}),
        json!({"bye": {}}),
    ] {
        peer.say(1, body).await;
    }
    // Foreign handles are an error there.
    peer.say(1, json!({"watch": {"handles": [foreign], "ttl_ms": 1000}}))
        .await;
    let report = loop {
        let report = peer.hear("report").await;
        if report["ends"] != json!([]) {
            break report;
        }
    };
    assert_eq!(
        report["ends"][0]["end"]["refused"]["code"],
        "foreign_handle"
    );
    let here = node::<u32>(&server, 2).await;
    let receipt = here.system().request(handle, SignalRequest::Trigger(1));
    assert_eq!(soon(receipt).await, Ok(()));
}
