//! The client, over a real socket.

use std::time::Duration;

use futures_util::StreamExt;
use reveille_client::{
    After, Client, Follow, FollowOptions, Followed, ListRequest, PublishOptions, Session,
    TakeResult, WaitRequest,
};
use reveille_e2e::{Server, soon};
use reveille_queue::{SessionLog, TakeOptions, TakeOutcome};
use reveille_testkit::dropped_at_each_poll;
use reveille_types::data::AgentMessage;
use reveille_types::wire::{
    CancelRequest, CloseRequest, CreateRequest, SettleRequest, TakeRequest,
};
use serde_json::{Value, json};
use tokio::sync::Mutex;

use crate::queue::{key, takeable};

/// A server with a session of two events, and a client of it.
pub(crate) struct Remote {
    pub(crate) server: Server,
    pub(crate) client: Client,
    session: Session,
}

fn event(kind: &str) -> Value {
    json!({ "type": kind })
}

pub(crate) async fn remote() -> Remote {
    let server = Server::start().await;
    let client = Client::new(&server.url).unwrap();
    let session = client.session("s");
    let remote = Remote {
        server,
        client,
        session,
    };
    remote.publish("a").await;
    remote.publish("b").await;
    remote
}

impl Remote {
    async fn publish(&self, kind: &str) {
        let options = PublishOptions::default();
        self.session
            .publish(&[event(kind)], &options)
            .await
            .unwrap();
    }

    /// The session as the server has it.
    fn log(&self) -> SessionLog {
        self.server.sessions.get(&key()).unwrap()
    }

    /// Nobody waits any more, nothing was consumed or changed, and the client works.
    async fn check_untouched(&self) {
        self.check_free().await;
        assert_eq!(
            self.session.info().await.unwrap().latest,
            self.log().latest()
        );
        assert_eq!(takeable(&self.log()).await, self.log().info().retained);
    }

    /// Nobody waits any more.
    async fn check_free(&self) {
        soon("the end of all waits", async {
            while self.log().info().waiters + self.log().info().subscribers > 0 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }

    /// A lease on the first event.
    async fn leased(&self) -> SettleRequest {
        let options = TakeOptions::new().lease(Duration::from_secs(1_000));
        let TakeOutcome::Taken { taken, .. } = self.log().take(options).await.unwrap() else {
            panic!("the event is there");
        };
        SettleRequest {
            group: None,
            leases: vec![taken[0].lease.as_ref().unwrap().id.to_string()],
        }
    }

    /// A request may still be under way when its future is dropped: one behind it is answered later.
    async fn settle(&self) {
        self.client.healthz().await.unwrap();
    }
}

async fn followed() -> (Remote, Mutex<Follow>) {
    let remote = remote().await;
    let follow = remote.session.follow(FollowOptions::default());
    (remote, Mutex::new(follow))
}

/// The next event, past all that is told on the way.
async fn next_event(follow: &mut Follow) -> String {
    loop {
        if let Followed::Event(event) = follow.next().await.unwrap().unwrap() {
            return event.kind;
        }
    }
}

/// Whatever was handed out, what follows is the rest.
async fn check_followed((_, follow): &(Remote, Mutex<Follow>), given: Option<String>) {
    let mut follow = follow.lock().await;
    let rest: &[&str] = match given.as_deref() {
        None => &["a", "b"],
        Some(_) => &["b"],
    };
    for kind in rest {
        assert_eq!(soon("the next event", next_event(&mut follow)).await, *kind);
    }
}

cases! {
    reading_changes_nothing drops
        "client/src/client.rs sessions",
        "client/src/client.rs healthz",
        "client/src/session.rs page",
        "client/src/session.rs info"
    {
        dropped_at_each_poll(
            remote,
            async |remote| {
                remote.client.healthz().await.unwrap();
                let listed = remote.client.sessions(&ListRequest::default()).await;
                assert_eq!(listed.unwrap().sessions.len(), 1);
                let page = remote.session.page(After::Earliest, 10).await.unwrap();
                assert_eq!(page.events.len(), 2);
                assert_eq!(remote.session.info().await.unwrap().retained, 2);
            },
            async |_, _| (),
            async |remote, _| remote.check_untouched().await,
        )
        .await;
    }

    publishing_is_whole_or_nothing drops "client/src/publish.rs publish" {
        let publish = async |remote: &Remote| {
            let mut options = PublishOptions::default();
            options.idempotency_key = Some("key".to_owned());
            let batch = [event("c"), event("d")];
            remote.session.publish(&batch, &options).await.unwrap()
        };
        dropped_at_each_poll(
            remote,
            publish,
            async |_, _| (),
            async |remote, _| {
                publish(remote).await;
                remote.settle().await;
                assert_eq!(remote.log().info().retained, 4);
                remote.check_untouched().await;
            },
        )
        .await;
    }

    a_notification_is_there_once_or_not_at_all drops "client/src/notify.rs notify" {
        let notify = async |remote: &Remote| {
            let said = AgentMessage {
                agent_id: "w1".into(),
                status: "success".into(),
                changes: Vec::new(),
                message: String::new(),
            };
            remote.client.notify("s", said).await.unwrap();
        };
        dropped_at_each_poll(
            remote,
            notify,
            async |_, _| (),
            async |remote, _| {
                remote.settle().await;
                assert!((2..=3).contains(&remote.log().info().retained));
                notify(remote).await;
                remote.check_untouched().await;
            },
        )
        .await;
    }

    what_was_taken_is_leased_and_nothing_else_is drops
        "client/src/take.rs take",
        "client/src/take.rs take_within"
    {
        let request = TakeRequest {
            timeout_ms: Some(60_000),
            ..TakeRequest::default()
        };
        let taken = |result: TakeResult| match result {
            TakeResult::Answered(answer) => answer.events.len() as u64,
            TakeResult::TimedOut => 0,
        };
        for within in [false, true] {
            dropped_at_each_poll(
                remote,
                async |remote| match within {
                    false => taken(remote.session.take(&request).await.unwrap()),
                    true => {
                        let minute = Some(Duration::from_secs(60));
                        let taking = remote.session.take_within(&request, minute, |_| ());
                        taken(taking.await.unwrap())
                    }
                },
                async |_, _| (),
                async |remote, given| {
                    remote.check_free().await;
                    // What is on lease comes back by itself; no event is gone for good.
                    let left = takeable(&remote.log()).await;
                    assert!((1..=2).contains(&left), "{left} events are left");
                    assert_eq!(given.unwrap_or(1), 1);
                    assert_eq!(remote.log().info().retained, 2);
                },
            )
            .await;
        }
    }

    wait_leaves_no_waiter_at_the_server drops "client/src/wait.rs wait" {
        let mut request = WaitRequest::default();
        request.patterns = vec!["c".to_owned()];
        dropped_at_each_poll(
            remote,
            async |remote| remote.session.wait(&request, |_| ()).await.unwrap(),
            async |remote, _| remote.publish("c").await,
            async |remote, _| remote.check_untouched().await,
        )
        .await;
    }

    next_event_is_handed_out_or_still_there drops
        "client/src/follow.rs next",
        "client/src/follow.rs Follow"
    {
        dropped_at_each_poll(
            followed,
            async |(_, follow)| {
                let mut follow = follow.lock().await;
                // What is told on the way may be lost with the future.
                next_event(&mut follow).await
            },
            async |_, _| (),
            async |followed, given| check_followed(followed, given).await,
        )
        .await;
        dropped_at_each_poll(
            followed,
            async |(_, follow)| {
                let mut follow = follow.lock().await;
                loop {
                    let item = StreamExt::next(&mut *follow).await;
                    if let Followed::Event(event) = item.unwrap().unwrap() {
                        return event.kind;
                    }
                }
            },
            async |_, _| (),
            async |followed, given| check_followed(followed, given).await,
        )
        .await;
    }

    lease_is_settled_or_not drops
        "client/src/session.rs ack",
        "client/src/session.rs nack"
    {
        for ack in [true, false] {
            let settle = async |(remote, lease): &(Remote, SettleRequest)| match ack {
                true => remote.session.ack(lease).await,
                false => remote.session.nack(lease).await,
            };
            dropped_at_each_poll(
                async || {
                    let remote = remote().await;
                    let lease = remote.leased().await;
                    (remote, lease)
                },
                settle,
                async |_, _| (),
                async |held, answer| {
                    let (remote, _) = held;
                    assert!(answer.is_none_or(|answer| answer.unwrap().settled == 1));
                    // Either it is settled by now, or it is now.
                    let _ = settle(held).await;
                    remote.settle().await;
                    let left = if ack { 1 } else { 2 };
                    assert_eq!(takeable(&remote.log()).await, left);
                },
            )
            .await;
        }
    }

    session_ends_once_or_not_at_all drops
        "client/src/session.rs cancel",
        "client/src/session.rs close",
        "client/src/session.rs remove",
        "client/src/session.rs create"
    {
        dropped_at_each_poll(
            remote,
            async |remote| remote.session.cancel(&CancelRequest::default()).await.unwrap(),
            async |_, _| (),
            async |remote, _| {
                remote.session.cancel(&CancelRequest::default()).await.unwrap();
                assert_eq!(remote.log().info().retained, 3, "there is one cancel");
            },
        )
        .await;
        dropped_at_each_poll(
            remote,
            async |remote| remote.session.close(&CloseRequest::default()).await.unwrap(),
            async |_, _| (),
            async |remote, _| {
                remote.session.close(&CloseRequest::default()).await.unwrap();
                assert_eq!(remote.log().info().retained, 2);
            },
        )
        .await;
        dropped_at_each_poll(
            remote,
            async |remote| remote.session.remove().await.unwrap(),
            async |_, _| (),
            async |remote, _| {
                // Either it is gone by now, or it is now.
                let _ = remote.session.remove().await;
                remote.settle().await;
                assert!(remote.server.sessions.get(&key()).is_err());
            },
        )
        .await;
        dropped_at_each_poll(
            remote,
            async |remote| {
                let other = remote.client.session("other");
                other.create(&CreateRequest::default()).await.unwrap()
            },
            async |_, _| (),
            async |remote, _| {
                let other = remote.client.session("other");
                other.create(&CreateRequest::default()).await.unwrap();
                assert_eq!(remote.server.sessions.len(), 2);
                remote.check_untouched().await;
            },
        )
        .await;
    }
}
