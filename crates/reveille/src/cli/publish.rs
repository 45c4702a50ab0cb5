//! `reveille publish`

use std::io::Read;
use std::path::PathBuf;

use clap::Args;
use reveille_client::PublishOptions;
use reveille_types::Cursor;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::{CommandError, Outcome, Server, output};

/// Publish an event, or a batch of them
#[derive(Debug, Args)]
pub(super) struct Publish {
    /// The session: `id`, or `namespace/id`
    session: String,
    /// What happened, such as `task.completed`
    #[arg(long = "type", value_name = "KIND", required_unless_present = "events")]
    kind: Option<String>,
    /// What the event carries, as JSON
    #[arg(long, value_name = "JSON")]
    data: Option<String>,
    /// The event's id; a new one if none is given
    #[arg(long)]
    id: Option<String>,
    /// Who produced it
    #[arg(long)]
    source: Option<String>,
    /// What it is about
    #[arg(long)]
    subject: Option<String>,
    /// Which agent it concerns
    #[arg(long)]
    agent: Option<String>,
    /// What it ends: `none`, `operation` or `session`; as the kind says if not given
    #[arg(long = "final", value_name = "WHAT", value_parser = ["none", "operation", "session"])]
    finality: Option<String>,
    /// Publish the events of this file, one JSON event a line, as one batch; `-` is standard input
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["kind", "data", "id", "source", "subject", "agent", "finality"]
    )]
    events: Option<PathBuf>,
    /// The key under which a repeated publish is recognised
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Publish only if the log ends at this cursor
    #[arg(long, value_name = "CURSOR")]
    expect: Option<Cursor>,
    #[command(flatten)]
    server: Server,
}

impl Publish {
    pub(super) async fn run(&self) -> Result<Outcome, CommandError> {
        let events = match &self.events {
            Some(file) => read_events(file)?,
            None => vec![self.event()?],
        };
        let mut options = PublishOptions::default();
        options.idempotency_key.clone_from(&self.idempotency_key);
        options.expected = self.expect;
        let session = self.server.session(&self.session)?;
        let receipt = session.publish(&events, &options).await?;
        output::json(&receipt)?;
        Ok(Outcome::Done)
    }

    fn event(&self) -> Result<Box<RawValue>, CommandError> {
        let not_json = |source| CommandError::Json {
            what: "--data".to_owned(),
            source,
        };
        let mut event = Map::new();
        let texts = [
            ("type", &self.kind),
            ("id", &self.id),
            ("source", &self.source),
            ("subject", &self.subject),
            ("reveilleagent", &self.agent),
            ("reveillefinal", &self.finality),
        ];
        for (name, text) in texts {
            if let Some(text) = text {
                event.insert(name.to_owned(), Value::String(text.clone()));
            }
        }
        let mut json = Value::Object(event).to_string();
        if let Some(data) = &self.data {
            // As it was written: numbers keep their digits.
            let data: &RawValue = serde_json::from_str(data).map_err(not_json)?;
            json.truncate(json.len() - 1);
            json.push_str(",\"data\":");
            json.push_str(data.get());
            json.push('}');
        }
        RawValue::from_string(json).map_err(not_json)
    }
}

fn read_events(file: &PathBuf) -> Result<Vec<Box<RawValue>>, CommandError> {
    let what = file.display().to_string();
    let unreadable = |source| CommandError::Input {
        what: what.clone(),
        source,
    };
    let text = if what == "-" {
        let mut text = String::new();
        std::io::stdin()
            .read_to_string(&mut text)
            .map_err(unreadable)?;
        text
    } else {
        std::fs::read_to_string(file).map_err(unreadable)?
    };
    text.lines()
        .enumerate()
        .filter(|(_, line)| !line.trim().is_empty())
        .map(|(index, line)| {
            RawValue::from_string(line.to_owned()).map_err(|source| CommandError::Json {
                what: format!("line {} of {what}", index + 1),
                source,
            })
        })
        .collect()
}
