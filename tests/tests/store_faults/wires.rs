//! The wire to the store breaks, in every way that wires do.

use std::time::{Duration, Instant};

use reqwest::{Client, StatusCode};
use reveille_e2e::{Broker, Program, Relay, Wire, soon};
use serde_json::json;

use crate::producers::{events, survives};

/// How long a wire stays broken.
const FAULT: Duration = Duration::from_secs(5);
/// How soon a connection on which nothing moves must be replaced.
const NOTICED: Duration = Duration::from_secs(8);

/// A gateway whose store is behind a relay.
struct Setting {
    gateway: Program,
    relay: Relay,
    _broker: Broker,
}

impl Setting {
    async fn on(broker: Broker) -> Self {
        let relay = Relay::to(&broker.url).await;
        let arguments = ["serve", "--listen", "127.0.0.1:0", "--backend", &relay.url];
        Self {
            gateway: Program::start(&arguments).await,
            relay,
            _broker: broker,
        }
    }

    /// Breaks the wire in this way, and mends it.
    async fn survives(self, wire: Wire) {
        let stored = survives(&self.gateway, 1, async || {
            self.relay.set(wire);
            tokio::time::sleep(FAULT).await;
            self.relay.mend();
        });
        let (stored, connections) = (stored.await, self.relay.accepted());
        eprintln!("{wire:?}: {stored} events, {connections} connections");
    }
}

/// A publish on a connection that died silently ends well, on another one.
async fn is_noticed(setting: Setting) {
    let client = Client::new();
    let publish = async || {
        let event = json!([{"type": "step"}]);
        let sent = client.post(events(&setting.gateway)).json(&event).send();
        soon("an answer", sent).await.unwrap().status()
    };
    assert_eq!(publish().await, StatusCode::CREATED);
    let before = setting.relay.accepted();
    setting.relay.kill_silently();
    let begin = Instant::now();
    while publish().await != StatusCode::CREATED {}
    let took = begin.elapsed();
    eprintln!("noticed after {took:?}");
    assert!(setting.relay.accepted() > before);
    assert!(took <= NOTICED, "after {took:?}");
}

macro_rules! on_each_store {
    ($($name:ident: $wire:expr;)+) => {
        mod on_redis {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    Setting::on(Broker::redis().await).await.survives($wire).await;
                }
            )+

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_connection_that_died_silently_is_replaced_in_time() {
                is_noticed(Setting::on(Broker::redis().await).await).await;
            }
        }

        mod on_nats {
            use super::*;

            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    Setting::on(Broker::nats().await).await.survives($wire).await;
                }
            )+

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn a_connection_that_died_silently_is_replaced_in_time() {
                is_noticed(Setting::on(Broker::nats().await).await).await;
            }
        }
    };
}

on_each_store! {
    a_black_hole_loses_nothing: Wire::BlackHole;
    requests_that_do_not_arrive_are_lost_by_nobody: Wire::ToServerLost;
    answers_that_do_not_arrive_double_nothing: Wire::ToClientLost;
    resets_lose_nothing: Wire::Reset;
    pieces_of_three_bytes_lose_nothing: Wire::Pieces(3);
    a_slow_wire_loses_nothing: Wire::Late(Duration::from_millis(300));
    connections_that_break_in_the_middle_lose_nothing: Wire::CutAfter(20_000);
}
