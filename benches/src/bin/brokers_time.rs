//! Events a second through the brokers, 256 appends in flight, each acknowledged: Reveille's backends
//! beside bare clients that send the same events.
//!
//! A bare client sends what Reveille sends for an event: its JSON. The logs are one, and 256, as
//! Reveille compares the end of a log before it appends, and a bare client does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use reveille_backend::{AppendOptions, StoredLog};
use reveille_bench::brokers::{self, entry, log};
use reveille_bench::harness::{Contender, Effort, compare};
use reveille_nats::{NatsBackend, NatsOptions};
use reveille_redis::{RedisBackend, RedisOptions};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

const IN_FLIGHT: usize = 256;

fn main() {
    let effort = Effort::from_args();
    let runtime = Runtime::new().expect("there is a runtime");
    nats(effort, &runtime);
    redis(effort, &runtime);
}

/// Events a second, as many at once as may be in flight.
async fn rate<F: Future<Output = ()> + Send + 'static>(
    events: usize,
    send: impl Fn(usize) -> F + Send + Sync + 'static,
) -> f64 {
    let (send, next) = (Arc::new(send), Arc::new(AtomicUsize::new(0)));
    let begin = Instant::now();
    let mut tasks = JoinSet::new();
    for task in 0..IN_FLIGHT {
        let (send, next) = (Arc::clone(&send), Arc::clone(&next));
        tasks.spawn(async move {
            while next.fetch_add(1, Ordering::Relaxed) < events {
                send(task).await;
            }
        });
    }
    tasks.join_all().await;
    events as f64 / begin.elapsed().as_secs_f64()
}

fn appending(
    logs: Vec<Arc<dyn StoredLog>>,
) -> impl Fn(usize) -> std::pin::Pin<Box<dyn Future<Output = ()> + Send>> {
    let entry = entry();
    move |task| {
        let (log, entry) = (Arc::clone(&logs[task % logs.len()]), entry.clone());
        Box::pin(async move {
            let appended = log.append(vec![entry], AppendOptions::at(Instant::now()));
            appended.await.expect("it is appended");
        })
    }
}

/// The bytes of an event as it is stored.
fn json() -> Vec<u8> {
    use reveille_types::{Epoch, Place, Position, Seq, SessionKey, Tenant};
    let session = SessionKey::in_tenant(Tenant::default_tenant(), "s").expect("the name is good");
    let place = Place {
        session: Arc::new(session),
        epoch: Epoch::from_parts(1_700_000_000_000, 1),
        position: Position::START,
        seq: Seq(0),
    };
    entry().event.at(place).json().to_vec()
}

fn nats(effort: Effort, runtime: &Runtime) {
    let broker = brokers::nats();
    let url = format!("nats://127.0.0.1:{}", broker.port);
    let backend = runtime
        .block_on(NatsBackend::connect(&url, NatsOptions::default()))
        .expect("it connects");
    let context = runtime.block_on(async {
        let client = async_nats::connect(&url).await.expect("it connects");
        let context = async_nats::jetstream::new(client);
        let config = async_nats::jetstream::stream::Config {
            name: "bare".into(),
            subjects: vec!["bare.>".into()],
            ..Default::default()
        };
        context.create_stream(config).await.expect("it is made");
        context
    });
    let events = effort.operations(60_000);
    let payload = json();
    for (row, count) in [
        ("nats_publish_256", 1),
        ("nats_publish_256_logs", IN_FLIGHT),
    ] {
        let logs: Vec<_> = (0..count)
            .map(|n| runtime.block_on(log(&backend, &format!("s{n}"))))
            .collect();
        let ours = || runtime.block_on(rate(events, appending(logs.clone())));
        let bare = || {
            let (context, payload) = (context.clone(), payload.clone());
            runtime.block_on(rate(events, move |task| {
                let (context, payload) = (context.clone(), payload.clone());
                async move {
                    let subject = format!("bare.{}", task % count);
                    let sent = context.publish(subject, payload.into()).await;
                    sent.expect("it is sent").await.expect("it is stored");
                }
            }))
        };
        let contenders = vec![
            Contender::new("reveille", ours),
            Contender::new("async-nats", bare),
        ];
        compare(row, "events/s", effort, contenders);
    }
}

fn redis(effort: Effort, runtime: &Runtime) {
    let broker = brokers::redis();
    let url = format!("redis://127.0.0.1:{}/", broker.port);
    let backend = runtime
        .block_on(RedisBackend::connect(&url, RedisOptions::default()))
        .expect("it connects");
    let connection = runtime.block_on(async {
        let client = redis::Client::open(url).expect("the URL is good");
        let connecting = client.get_multiplexed_async_connection();
        connecting.await.expect("it connects")
    });
    let events = effort.operations(60_000);
    let payload = json();
    for (row, count) in [
        ("redis_publish_256", 1),
        ("redis_publish_256_logs", IN_FLIGHT),
    ] {
        let logs: Vec<_> = (0..count)
            .map(|n| runtime.block_on(log(&backend, &format!("s{n}"))))
            .collect();
        let ours = || runtime.block_on(rate(events, appending(logs.clone())));
        let bare = || {
            let (connection, payload) = (connection.clone(), payload.clone());
            runtime.block_on(rate(events, move |task| {
                let (mut connection, payload) = (connection.clone(), payload.clone());
                async move {
                    let mut command = redis::cmd("XADD");
                    command.arg(format!("bare.{}", task % count));
                    command.arg("*").arg("e").arg(payload);
                    let sent = command.query_async::<String>(&mut connection);
                    sent.await.expect("it is stored");
                }
            }))
        };
        let contenders = vec![
            Contender::new("reveille", ours),
            Contender::new("redis", bare),
        ];
        compare(row, "events/s", effort, contenders);
    }
}
