//! Owners in processes of their own, which are killed and stopped.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::Duration;

use reveille_core::{PoisonKind, SignalHandle, SignalRequest, SignalStatus};
use reveille_nats::{SignalNode, SignalNodeOptions};
use rustix::process::Signal;
use tokio::time::Instant;

use crate::common::server::{Server, signal_process};
use crate::nodes::{end, node, node_with, options, soon, until};

/// Long enough for two leases to be told from one and a quarter on a busy machine.
const LEASE: Duration = Duration::from_secs(4);

const URL: &str = "REVEILLE_TEST_URL";

/// A node with three signals; for each line that comes, it triggers one with its place.
#[test]
#[ignore = "is started by the tests below"]
fn child_owns_signals() {
    let url = std::env::var(URL).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let mut options = SignalNodeOptions::default();
        options.lease = LEASE;
        let signals = reveille_core::SignalSystem::<u32>::builder();
        let node = SignalNode::join(&url, signals, options).await.unwrap();
        let signals: Vec<_> = (0..3).map(|_| node.system().create().unwrap()).collect();
        let handles: Vec<_> = signals
            .into_iter()
            .map(reveille_core::Signal::into_handle)
            .collect();
        let texts: Vec<_> = handles.iter().map(ToString::to_string).collect();
        let line = format!("signals {}\n", texts.join(" "));
        std::io::stdout().write_all(line.as_bytes()).unwrap();
        let mut handles = (0..).zip(handles);
        // Until it is killed, or nobody is there who could.
        loop {
            let read = tokio::task::spawn_blocking(|| {
                let mut line = String::new();
                std::io::stdin().read_line(&mut line).unwrap()
            });
            if read.await.unwrap() == 0 {
                return;
            }
            if let Some((value, handle)) = handles.next() {
                let _ = node.system().trigger(handle, value);
            }
        }
    });
}

/// The process, and its signals.
struct Owner {
    child: Child,
    orders: ChildStdin,
    handles: Vec<SignalHandle>,
}

impl Owner {
    fn start(server: &Server) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "processes::child_owns_signals", "--ignored"])
            .args(["--nocapture", "--test-threads=1"])
            .env(URL, server.url())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let handles = loop {
            let line = lines.next().unwrap().unwrap();
            if let Some((_, texts)) = line.rsplit_once("signals ") {
                break texts.split(' ').map(|text| text.parse().unwrap()).collect();
            }
        };
        let orders = child.stdin.take().unwrap();
        Self {
            child,
            orders,
            handles,
        }
    }

    fn signal(&self, signal: Signal) {
        signal_process(&self.child, signal);
    }

    fn trigger_next(&mut self) {
        self.orders.write_all(b"\n").unwrap();
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d022_owner_that_is_killed_is_lost_within_two_leases() {
    let server = Server::start();
    let mut slow = options();
    slow.lease = LEASE;
    let here = node_with::<u32>(&server, 2, slow).await;
    let mut owner = Owner::start(&server);
    let handle = owner.handles[1];
    let merged = here.system().merge(&[handle]).unwrap();
    let awaiter = here.system().awaiter(handle).unwrap();
    owner.trigger_next();
    assert_eq!(end(&here, owner.handles[0]).await, Ok(0));

    let begin = Instant::now();
    owner.signal(Signal::KILL);
    let poison = soon(awaiter).await.unwrap_err();
    let took = begin.elapsed();
    assert!(took < 2 * LEASE, "{took:?}");
    assert_eq!(
        (poison.handle(), poison.kind()),
        (handle, PoisonKind::OwnerLost)
    );
    let of_merge = here.system().completion(merged).unwrap();
    let of_merge = soon(of_merge).await.unwrap_err();
    assert_eq!(of_merge.causes(), poison.causes());
    assert_eq!(here.system().poll(handle), Ok(SignalStatus::Pending));
    assert_eq!(
        end(&here, owner.handles[0]).await,
        Ok(0),
        "it was told before"
    );
    until(|| here.stats().waits == 0).await;
}

/// A stopped owner is lost to who waits and asks. When it goes on, it does nothing of what was given up,
/// and whoever asks then is told what is true.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn d022_owner_that_is_stopped_and_goes_on_has_one_truth() {
    let server = Server::start();
    let mut impatient = options();
    impatient.request_deadline = Duration::from_millis(500);
    impatient.lease = LEASE;
    let here = node_with::<u32>(&server, 2, impatient).await;
    let owner = Owner::start(&server);
    let [first, second, third] = owner.handles[..] else {
        panic!("there are three");
    };
    let awaiter = here.system().awaiter(first).unwrap();
    assert_eq!(here.status(first).await, Ok(SignalStatus::Pending));

    let begin = Instant::now();
    owner.signal(Signal::STOP);
    // It waits in the socket of the stopped process.
    let trigger = |handle, value| here.system().request(handle, SignalRequest::Trigger(value));
    let given_up = soon(trigger(second, 100)).await;
    assert_eq!(given_up.unwrap_err().code(), "owner_lost");
    let poison = soon(awaiter).await.unwrap_err();
    assert_eq!(poison.kind(), PoisonKind::OwnerLost);
    assert!(begin.elapsed() < 2 * LEASE, "{:?}", begin.elapsed());

    owner.signal(Signal::CONT);
    // Answered after all that was sent before, and nothing of that has had an effect.
    let status = soon(async {
        loop {
            if let Ok(status) = here.status(second).await {
                return status;
            }
        }
    });
    assert_eq!(status.await, SignalStatus::Pending);
    assert_eq!(soon(trigger(second, 7)).await, Ok(()));
    assert_eq!(end(&here, second).await, Ok(7));
    let again = here.system().awaiter(first).unwrap();
    assert_eq!(soon(trigger(first, 8)).await, Ok(()));
    assert_eq!(soon(again).await, Ok(8));
    let elsewhere = node::<u32>(&server, 3).await;
    assert_eq!(end(&elsewhere, first).await, Ok(8));
    assert_eq!(elsewhere.status(third).await, Ok(SignalStatus::Pending));
}
