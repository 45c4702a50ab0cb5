//! The gateway beside nginx with nchan, and beside the least that a server can be.
//!
//! Each cell has a fresh server on a CPU of its own; the load runs on the others. What a delivery costs
//! is seconds of the server's CPU for a million of them, the posts included: that survives the noise of a
//! machine which wall time does not.

use std::error::Error;
use std::time::{Duration, Instant};

use reveille_bench::figures::Figures;
use reveille_bench::server::{KINDS, Kind, Server};
use reveille_load::{Load, Pace, Plan, Report, raise_file_limit};

/// Readers of one channel, one event at a time.
const READERS: [usize; 4] = [100, 1_000, 5_000, 10_000];
/// Readers of one channel, with this many events on their way.
const LOADED: [usize; 2] = [100, 1_000];
const WINDOW: u64 = 64;
/// Deliveries a second, and to how many readers, where latencies are compared.
const RATE: f64 = 20_000.0;
const RATE_READERS: usize = 100;
/// Sessions with one reader each, and events a second to all of them.
const SESSIONS: usize = 1_000;
const SESSIONS_RATE: f64 = 5_000.0;
/// Connections that publish without readers, and events in their batches.
const PUBLISHERS: usize = 64;
const BATCH: usize = 100;

type Failed = Box<dyn Error>;

fn main() -> Result<(), Failed> {
    let quick = std::env::args().any(|arg| arg == "--quick");
    let (rounds, seconds) = if quick { (1, 0.5) } else { (3, 1.5) };
    let time = Duration::from_secs_f64(seconds);
    raise_file_limit()?;
    let mut figures = Figures::default();
    for round in 0..rounds {
        eprintln!("round {} of {rounds}", round + 1);
        for kind in KINDS {
            for readers in READERS {
                one_at_a_time(&mut figures, kind, readers, time)?;
            }
            for readers in LOADED {
                loaded(&mut figures, kind, readers, time)?;
            }
            at_a_rate(&mut figures, kind, time * 2)?;
            one_reader_each(&mut figures, kind, time * 2)?;
            posts(&mut figures, kind, time)?;
        }
    }
    figures.print(Kind::Reveille.name());
    Ok(())
}

/// What a run cost the server, and what came through.
struct Measured {
    cpu_seconds: f64,
    report: Report,
}

impl Measured {
    fn per_million_deliveries(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.report.deliveries as f64
    }

    fn micros_per_event(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.report.published as f64
    }
}

/// Runs a load that has been warm for a moment.
fn measure(
    server: &Server,
    load: &mut Load,
    pace: Pace,
    time: Duration,
) -> Result<Measured, Failed> {
    load.run(pace, time / 5)?;
    let before = server.cpu_seconds()?;
    let report = load.run(pace, time)?;
    let cpu_seconds = server.cpu_seconds()? - before;
    if !report.is_clean() {
        return Err(format!("not all came through once:\n{report}").into());
    }
    Ok(Measured {
        cpu_seconds,
        report,
    })
}

fn plan(server: &Server) -> Plan {
    Plan::new(server.target(), "bench-")
}

fn one_at_a_time(
    figures: &mut Figures,
    kind: Kind,
    readers: usize,
    time: Duration,
) -> Result<(), Failed> {
    let server = Server::start(kind)?;
    let mut plan = plan(&server);
    plan.readers = readers;
    let (memory, begun) = (server.memory_kib()?, Instant::now());
    let mut load = Load::connect(plan)?;
    let most = READERS.iter().max() == Some(&readers);
    if most {
        let took = begun.elapsed();
        let each = (server.memory_kib()? - memory) / readers as f64;
        figures.add("connection_memory", "KiB", kind.name(), each);
        figures.add("connect_10000", "s", kind.name(), took.as_secs_f64());
    }
    let measured = measure(&server, &mut load, Pace::Window(1), time)?;
    let row = format!("sse_{readers}");
    let cost = measured.per_million_deliveries();
    figures.add(&row, "CPU s/million", kind.name(), cost);
    if most {
        let last = measured.report.latency.max_us / 1e3;
        figures.add("sse_fan_out_10000", "ms", kind.name(), last);
    }
    Ok(())
}

fn loaded(figures: &mut Figures, kind: Kind, readers: usize, time: Duration) -> Result<(), Failed> {
    let server = Server::start(kind)?;
    let mut plan = plan(&server);
    plan.readers = readers;
    plan.publishers = 8;
    let mut load = Load::connect(plan)?;
    let measured = measure(&server, &mut load, Pace::Window(WINDOW), time)?;
    let cost = measured.per_million_deliveries();
    let row = format!("sse_loaded_{readers}");
    figures.add(&row, "CPU s/million", kind.name(), cost);
    let rate = measured.report.deliveries_per_second / 1e3;
    let row = format!("sse_loaded_{readers}_rate");
    figures.add(&row, "k/s", kind.name(), rate);
    Ok(())
}

fn at_a_rate(figures: &mut Figures, kind: Kind, time: Duration) -> Result<(), Failed> {
    let server = Server::start(kind)?;
    let mut plan = plan(&server);
    plan.readers = RATE_READERS;
    plan.publishers = 4;
    let mut load = Load::connect(plan)?;
    let pace = Pace::Rate(RATE / RATE_READERS as f64);
    let measured = measure(&server, &mut load, pace, time)?;
    let latency = measured.report.latency;
    figures.add("latency_p50", "us", kind.name(), latency.p50_us);
    figures.add("latency_p99", "us", kind.name(), latency.p99_us);
    Ok(())
}

fn one_reader_each(figures: &mut Figures, kind: Kind, time: Duration) -> Result<(), Failed> {
    let server = Server::start(kind)?;
    let mut plan = plan(&server);
    plan.readers = SESSIONS;
    plan.channels = SESSIONS;
    plan.publishers = 8;
    let mut load = Load::connect(plan)?;
    let measured = measure(&server, &mut load, Pace::Rate(SESSIONS_RATE), time)?;
    let latency = measured.report.latency;
    figures.add("session_p50", "us", kind.name(), latency.p50_us);
    figures.add("session_p99", "us", kind.name(), latency.p99_us);
    let cost = measured.per_million_deliveries();
    figures.add("session_cost", "CPU s/million", kind.name(), cost);
    Ok(())
}

fn posts(figures: &mut Figures, kind: Kind, time: Duration) -> Result<(), Failed> {
    let server = Server::start(kind)?;
    let mut plan = plan(&server);
    plan.publishers = PUBLISHERS;
    let mut load = Load::connect(plan.clone())?;
    let all = Pace::Window(u64::MAX);
    let measured = measure(&server, &mut load, all, time)?;
    figures.add(
        "publish",
        "CPU us",
        kind.name(),
        measured.micros_per_event(),
    );
    // The others know no batches.
    if kind == Kind::Reveille {
        plan.batch = BATCH;
        plan.prefix = "batches-".into();
        let mut load = Load::connect(plan)?;
        let measured = measure(&server, &mut load, all, time)?;
        let cost = measured.micros_per_event();
        figures.add("publish_batched", "CPU us", kind.name(), cost);
    }
    Ok(())
}
