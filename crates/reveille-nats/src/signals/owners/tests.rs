//! Leases, deadlines and replaced owners on a clock that the tests set.

use std::sync::Arc;

use reveille_core::{SignalAwaiter, SignalReceipt, SignalRequest, SignalSystem};
use tokio::sync::mpsc;
use tokio_test::{assert_pending, assert_ready, assert_ready_err, assert_ready_ok, task};

use super::super::ends::EndText;
use super::super::router::{Command, Router};
use super::*;

const LEASE: Duration = Duration::from_millis(1000);
const DEADLINE: Duration = Duration::from_millis(5000);
const OWNER: System = System(9);
const RUN: Run = Run(100);

/// A system, and what it wants of the owner 9.
struct Here {
    system: SignalSystem<u32>,
    commands: mpsc::UnboundedReceiver<Command<u32>>,
    owners: Owners<u32>,
    out: Vec<Outgoing>,
}

fn at(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

impl Here {
    fn new() -> Self {
        let (router, commands) = Router::new(10, 10);
        Self {
            system: SignalSystem::builder().router(Arc::new(router)).build(),
            commands,
            owners: Owners::new(LEASE, DEADLINE),
            out: Vec::new(),
        }
    }

    fn run_commands(&mut self, now: Duration) {
        while let Ok(command) = self.commands.try_recv() {
            match command {
                Command::Wait(wait) => self.owners.wait(now, wait),
                Command::Ask(question) => self.owners.ask(now, question, &mut self.out),
                Command::Leave(_) => {}
            }
        }
        self.owners.tell(&mut self.out);
    }

    fn wait(&mut self, now: Duration, index: u32) -> task::Spawn<SignalAwaiter<u32>> {
        let awaiter = self.system.awaiter(handle(index)).unwrap();
        self.run_commands(now);
        task::spawn(awaiter)
    }

    fn trigger(&mut self, now: Duration) -> task::Spawn<SignalReceipt> {
        let request = SignalRequest::Trigger(7);
        let receipt = self.system.request(handle(0), request);
        self.run_commands(now);
        task::spawn(receipt)
    }

    fn hear(&mut self, now: Duration, run: Run, clock: u64) -> bool {
        self.owners.heard(now, (OWNER, run), clock, &mut self.out)
    }

    fn tick(&mut self, now: Duration) {
        self.owners.expire(now, true, &mut self.out);
        self.owners.renew(now, &mut self.out);
    }

    /// What was sent since the last call.
    fn sent(&mut self) -> Vec<Body> {
        self.out.drain(..).map(|sent| sent.body).collect()
    }

    /// Until when the requests sent since the last call hold, on the owner's clock.
    fn sent_by(&mut self) -> Vec<u64> {
        let by = |body| match body {
            Body::Request { by, .. } => Some(by),
            _ => None,
        };
        self.sent().into_iter().filter_map(by).collect()
    }
}

fn handle(index: u32) -> SignalHandle {
    SignalHandle::from_raw((9 << 64) | (u128::from(index) << 32) | 1)
}

#[test]
fn d022_lease_runs_out_after_silence_and_not_before() {
    let mut here = Here::new();
    let mut awaiter = here.wait(at(0), 0);
    assert!(here.hear(at(400), RUN, 0));
    here.tick(at(1399));
    assert_pending!(awaiter.poll());
    here.tick(at(1400));
    let poison = assert_ready_err!(awaiter.poll());
    assert_eq!(
        (poison.handle(), poison.kind()),
        (handle(0), PoisonKind::OwnerLost)
    );
    assert_eq!(here.owners.lost, 1);
    here.tick(at(3000));
    assert!(here.owners.owners.is_empty(), "nothing is kept of it");
}

#[test]
fn d022_nobody_is_lost_while_this_node_cannot_hear() {
    let mut here = Here::new();
    let mut awaiter = here.wait(at(0), 0);
    here.owners.expire(at(10_000), false, &mut here.out);
    assert_pending!(awaiter.poll());
    // It is heard again: a lease begins.
    here.owners.extend(at(10_000));
    here.tick(at(10_999));
    assert_pending!(awaiter.poll());
    here.tick(at(11_000));
    assert_ready_err!(awaiter.poll());
}

#[test]
fn d022_time_that_this_node_was_stopped_for_counts_for_no_lease() {
    let mut here = Here::new();
    let mut awaiter = here.wait(at(0), 0);
    assert!(here.hear(at(100), RUN, 0));
    here.owners.excuse(at(9000), at(8000));
    here.tick(at(9099));
    assert_pending!(awaiter.poll());
    here.tick(at(9100));
    assert_ready_err!(awaiter.poll());
}

#[test]
fn d022_wait_that_comes_after_long_silence_has_a_lease_of_its_own() {
    let mut here = Here::new();
    let mut receipt = here.trigger(at(0));
    let mut awaiter = here.wait(at(4000), 0);
    here.tick(at(4999));
    assert_pending!(awaiter.poll());
    here.tick(at(5001));
    assert_ready_err!(awaiter.poll());
    assert_eq!(
        assert_ready!(receipt.poll()).unwrap_err().code(),
        "owner_lost"
    );
}

#[test]
fn all_waits_are_renewed_once_a_lease_in_bounded_messages() {
    let mut here = Here::new();
    let (router, commands) = Router::new(3000, 1);
    here.commands = commands;
    here.system = SignalSystem::builder().router(Arc::new(router)).build();
    let awaiters: Vec<_> = (0..2500).map(|index| here.wait(at(0), index)).collect();
    here.sent();
    let named = |here: &mut Here| -> Vec<_> {
        let sent = here.sent().into_iter().map(|body| match body {
            Body::Watch { handles, ttl_ms } => {
                assert_eq!(ttl_ms, 3000);
                handles.len()
            }
            other => panic!("{other:?}"),
        });
        sent.collect()
    };
    for quarter in 1..=4 {
        here.tick(at(250 * quarter - 1));
        assert_eq!(named(&mut here), [625], "each once a lease");
    }
    here.owners.renew_all(at(999), &mut here.out);
    assert_eq!(named(&mut here), [1000, 1000, 500]);
    drop(awaiters);
    here.tick(at(999));
    let unwatched = here.sent().into_iter().map(|body| match body {
        Body::Unwatch { handles } => handles.len(),
        other => panic!("{other:?}"),
    });
    assert_eq!(unwatched.sum::<usize>(), 2500);
}

#[test]
fn d015_request_waits_for_the_owners_clock_and_its_deadline_there_stays() {
    let mut here = Here::new();
    let mut receipt = here.trigger(at(1000));
    assert!(matches!(here.sent()[..], [Body::Hello {}]));
    // The owner's clock says 50 s; this message may have been under way for long.
    assert!(here.hear(at(2000), RUN, 50_000));
    assert_eq!(here.sent_by(), [54_000]);
    // A better estimate is for later requests.
    assert!(here.hear(at(2100), RUN, 50_400));
    here.tick(at(2250));
    assert_eq!(here.sent_by(), [54_000]);
    let mut later = here.trigger(at(3000));
    assert_eq!(here.sent_by(), [56_300]);
    // A worse one is not taken.
    assert!(here.hear(at(3000), RUN, 50_000));
    let _third = here.trigger(at(3000));
    assert_eq!(here.sent_by(), [56_300]);

    here.owners.answered((OWNER, Run(99)), 0, Answer::Done {});
    assert_pending!(receipt.poll());
    here.owners.answered((OWNER, RUN), 0, Answer::Done {});
    assert_ready_ok!(receipt.poll());
    here.owners.answered((OWNER, RUN), 1, Answer::Late {});
    assert_eq!(
        assert_ready!(later.poll()).unwrap_err().code(),
        "owner_lost"
    );
}

#[test]
fn replaced_owner_loses_waits_and_what_was_sent_to_it_alone() {
    let mut here = Here::new();
    let mut awaiter = here.wait(at(0), 0);
    assert!(here.hear(at(0), RUN, 0));
    let mut sent = here.trigger(at(0));
    assert!(here.hear(at(10), Run(101), 0));
    assert_eq!(
        assert_ready_err!(awaiter.poll()).kind(),
        PoisonKind::OwnerLost
    );
    assert_eq!(assert_ready!(sent.poll()).unwrap_err().code(), "owner_lost");
    assert!(!here.hear(at(20), RUN, 20), "the former is not believed");

    let mut again = here.wait(at(30), 0);
    let ends = vec![Ended {
        handle: handle(0),
        end: EndText::Done {},
    }];
    here.owners.reported(OWNER, ends, &mut here.out);
    // A value is waited for, and there is none.
    assert_eq!(assert_ready_err!(again.poll()).kind(), PoisonKind::Refused);
    // One of the former that comes late takes nothing away.
    here.owners.gone((OWNER, RUN));
    assert!(!here.owners.owners.is_empty());
}
