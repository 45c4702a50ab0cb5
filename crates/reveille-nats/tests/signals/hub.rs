//! Systems of several scopes on one connection, and what is asked at their desks.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use reveille_core::{
    PoisonKind, SignalDesk, SignalError, SignalMember, SignalNetwork, SignalQuestion,
    SignalRequest, SignalSystem,
};
use reveille_nats::SignalHub;
use reveille_testkit::dropped_at_each_poll;
use tokio::runtime::Handle;

use crate::common::server::Server;
use crate::nodes::{LEASE, options, soon, until};

/// Answers with what it is asked, and how often something was done.
#[derive(Debug, Default)]
struct Echo(AtomicUsize);

impl SignalDesk for Echo {
    fn answer(&self, question: SignalQuestion) -> String {
        match question {
            SignalQuestion::Look(text) if text == "\"panic\"" => panic!("as asked"),
            SignalQuestion::Look(text) => text,
            SignalQuestion::Act(_) => (self.0.fetch_add(1, Ordering::Relaxed) + 1).to_string(),
        }
    }
}

type Member = Arc<dyn SignalMember<u32>>;

async fn hub(server: &Server) -> SignalHub {
    SignalHub::connect(&server.url(), options()).await.unwrap()
}

fn join(hub: &SignalHub, scope: &str) -> Member {
    hub.join(
        scope,
        SignalSystem::<u32>::builder(),
        Arc::new(Echo::default()),
    )
}

fn id(member: &Member) -> u64 {
    member.system().system_id().get()
}

async fn look(member: &Member, owner: u64, text: &str) -> Result<String, SignalError> {
    soon(member.ask(owner, SignalQuestion::Look(text.to_owned()))).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scopes_share_a_connection_and_nothing_else() {
    let server = Server::start();
    let (here, there) = (hub(&server).await, hub(&server).await);
    let members = [
        join(&there, "a"),
        join(&there, "b"),
        join(&here, "a"),
        join(&here, "b"),
    ];
    let [a_there, b_there, a, b] = &members;
    assert_eq!(look(a, id(a_there), "[1]").await, Ok("[1]".to_owned()));
    assert_eq!(look(b, id(b_there), "[2]").await, Ok("[2]".to_owned()));
    assert_eq!(server.connections(), 2);
    let handle = a_there.system().create().unwrap().into_handle();
    let awaiter = a.system().awaiter(handle).unwrap();
    let foreign = b.system().awaiter(handle).unwrap();
    assert_eq!(
        look(b, id(a_there), "1").await,
        Err(SignalError::UnknownSignal)
    );
    a_there.system().trigger(handle, 7).unwrap();
    assert_eq!(soon(awaiter).await, Ok(7));
    assert_eq!(
        soon(foreign).await.unwrap_err().kind(),
        PoisonKind::OwnerLost
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_desk_alone_completes_signals_for_others() {
    let server = Server::start();
    let (here, there) = (hub(&server).await, hub(&server).await);
    let (owner, member) = (join(&there, "a"), join(&here, "a"));
    let handle = owner.system().create().unwrap().into_handle();
    for request in [
        SignalRequest::Trigger(1),
        SignalRequest::Poison("no".into()),
        SignalRequest::Cancel("no".into()),
    ] {
        let receipt = member.system().request(handle, request);
        assert_eq!(soon(receipt).await, Err(SignalError::NotPermitted));
    }
    for times in ["1", "2"] {
        let act = SignalQuestion::Act("{}".to_owned());
        assert_eq!(
            soon(member.ask(id(&owner), act)).await.as_deref(),
            Ok(times)
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_asked_or_answered_is_refused() {
    let server = Server::start();
    let (here, there) = (hub(&server).await, hub(&server).await);
    let (owner, member) = (join(&there, "a"), join(&here, "a"));
    let long = format!("\"{}\"", "x".repeat(2 << 20));
    for text in ["no json", "\"panic\"", &long] {
        let refused = look(&member, id(&owner), text).await.unwrap_err();
        assert_eq!(refused.code(), "not_carried", "{refused}");
    }
    assert_eq!(
        look(&member, id(&owner), "null").await,
        Ok("null".to_owned())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_nobody_has_is_unknown_within_a_lease() {
    let server = Server::start();
    let member = join(&hub(&server).await, "a");
    let begin = Instant::now();
    assert_eq!(
        look(&member, 77, "1").await,
        Err(SignalError::UnknownSignal)
    );
    assert!(begin.elapsed() >= LEASE / 2, "it may be joining");
    assert!(begin.elapsed() < 2 * LEASE, "{:?}", begin.elapsed());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_system_that_joins_while_it_is_asked_answers() {
    let server = Server::start();
    let (here, there) = (hub(&server).await, hub(&server).await);
    let member = join(&here, "a");
    let number = std::num::NonZeroU64::new(77).unwrap();
    let asking = tokio::spawn(async move { look(&member, 77, "1").await });
    // It has asked once, and nobody was there.
    tokio::time::sleep(LEASE / 8).await;
    let signals = SignalSystem::<u32>::builder().system_id(number);
    let _owner = there.join("a", signals, Arc::new(Echo::default()));
    assert_eq!(soon(asking).await.unwrap(), Ok("1".to_owned()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_owner_that_is_gone_is_lost_to_who_has_asked_and_unknown_then() {
    let server = Server::start();
    let (here, there) = (hub(&server).await, hub(&server).await);
    let (owner, member) = (join(&there, "a"), join(&here, "a"));
    let owner_id = id(&owner);
    assert_eq!(look(&member, owner_id, "1").await, Ok("1".to_owned()));
    let handle = owner.system().create().unwrap().into_handle();
    let awaiter = member.system().awaiter(handle).unwrap();
    drop(owner);
    let poison = soon(awaiter).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::OwnerLost);
    let unknown = Err(SignalError::UnknownSignal);
    let begin = Instant::now();
    while look(&member, owner_id, "1").await != unknown {
        assert!(begin.elapsed() < Duration::from_secs(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connect_that_is_dropped_leaves_nothing() {
    let server = Server::start();
    let url = server.url();
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let before = tasks();
    dropped_at_each_poll(
        async || (),
        async |()| SignalHub::connect(&url, options()).await,
        async |(), _| (),
        async |(), made| {
            if let Some(hub) = made {
                drop(join(&hub.unwrap(), "a"));
            }
            until(|| tasks() == before).await;
        },
    )
    .await;
}
