//! `reveille bench`

use std::net::SocketAddr;
use std::time::Duration;

use clap::Args;
use reveille_load::{Load, LoadError, Pace, Plan, Report, Target, raise_file_limit};
use reveille_types::wire::CreateRequest;

use super::output::note;
use super::{CommandError, Outcome, Server, duration, output};

/// Put load on a server, and tell what came through
///
/// Makes sessions of its own, opens streams, publishes for a while and removes the sessions again. It
/// tells rates, latencies from the publisher's stamp to the reader's parser, and what is missing or came
/// twice; then it fails. It takes one CPU, which the server should not need.
#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Streams, shared out among the sessions
    #[arg(long, short = 'c', default_value_t = 100, value_name = "COUNT")]
    readers: usize,
    /// Sessions, each published to in turn
    #[arg(long, default_value_t = 1, value_name = "COUNT", value_parser = at_least_one)]
    sessions: usize,
    /// Events a second; as fast as the readers read if not given
    #[arg(long, value_name = "EVENTS")]
    rate: Option<f64>,
    /// Most events on their way to readers, where no rate is given
    #[arg(
        long,
        default_value_t = 64,
        value_name = "EVENTS",
        conflicts_with = "rate"
    )]
    window: u64,
    /// Connections that publish
    #[arg(long, default_value_t = 8, value_name = "COUNT", value_parser = at_least_one)]
    publishers: usize,
    /// Events in a request
    #[arg(long, default_value_t = 1, value_name = "EVENTS", value_parser = at_least_one)]
    batch: usize,
    /// Bytes of an event's payload
    #[arg(long, default_value_t = 256, value_name = "BYTES")]
    payload: usize,
    /// How long to publish
    #[arg(long, default_value = "10s", value_parser = duration, value_name = "DURATION")]
    duration: Duration,
    /// One JSON object instead of lines for people
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    server: Server,
}

/// Why no load could be put on a server.
#[derive(Debug, thiserror::Error)]
pub(super) enum BenchError {
    #[error("{url:?} is no http://HOST:PORT; load is put on plain HTTP only")]
    Url { url: String },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("the load ended early")]
    Lost(#[from] tokio::task::JoinError),
}

impl Bench {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let plan = self.plan().await?;
        let client = self.server.client()?;
        for channel in 0..plan.channels {
            let session = client.session(&plan.channel(channel));
            session.create(&CreateRequest::default()).await?;
        }
        let report = self.load(plan.clone()).await;
        for channel in 0..plan.channels {
            // What came through is told whether or not they go.
            if let Err(error) = client.session(&plan.channel(channel)).remove().await {
                note(&format!("reveille: {}", output::with_causes(&error)));
                break;
            }
        }
        let report = report?;
        match self.json {
            true => output::json(&report)?,
            false => output::line(report.to_string().trim_end())?,
        }
        Ok(match report.is_clean() {
            true => Outcome::Done,
            false => Outcome::Failed,
        })
    }

    async fn plan(&self) -> Result<Plan, BenchError> {
        let url = &self.server.url;
        let wrong = || BenchError::Url { url: url.clone() };
        let host = url.strip_prefix("http://").ok_or_else(wrong)?;
        let host = host.trim_end_matches('/');
        let with_port = match host.rsplit_once(':') {
            Some((_, port)) if !port.ends_with(']') => host.to_owned(),
            _ => format!("{host}:80"),
        };
        let addresses = tokio::net::lookup_host(with_port).await;
        let address: Option<SocketAddr> = addresses.map_err(|_| wrong())?.next();
        let token = self.server.token.as_deref();
        let target = Target::gateway(address.ok_or_else(wrong)?, host, token);
        let mut plan = Plan::new(target, format!("bench-{}-", uuid::Uuid::now_v7()));
        plan.readers = self.readers;
        plan.channels = self.sessions;
        plan.publishers = self.publishers;
        plan.batch = self.batch;
        plan.payload = self.payload;
        Ok(plan)
    }

    async fn load(&self, plan: Plan) -> Result<Report, BenchError> {
        let pace = self.rate.map_or(Pace::Window(self.window), Pace::Rate);
        let time = self.duration;
        let load = move || {
            raise_file_limit()?;
            Load::connect(plan)?.run(pace, time)
        };
        Ok(tokio::task::spawn_blocking(load).await??)
    }
}

fn at_least_one(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(count) if count > 0 => Ok(count),
        _ => Err("expected a number from 1 on".to_owned()),
    }
}
