//! `reveille config`: what is set, and who says so.

use clap::Args;

use super::output::line;
use super::settings::{Effective, Given, Resolved, Source};
use super::{CommandError, Outcome};

/// Print the effective settings, each with its source
#[derive(Debug, Args)]
pub(super) struct Config {
    #[command(flatten)]
    given: Given,
}

impl Config {
    pub(super) fn run(&self) -> Result<Outcome, CommandError> {
        let resolved = self.given.resolve(|name| std::env::var(name).ok())?;
        for effective in &resolved.effective {
            line(&row(effective))?;
        }
        for text in known(&resolved) {
            line(&text)?;
        }
        Ok(Outcome::Done)
    }
}

/// A line that the file could hold. A setting without a value is a comment.
fn row(effective: &Effective) -> String {
    let Effective {
        setting,
        values,
        source,
    } = effective;
    let quoted: Vec<String> = values
        .iter()
        .map(|v| toml::Value::from(v.as_str()).to_string())
        .collect();
    let (mark, value) = match &quoted[..] {
        _ if setting.is_list => ("", format!("[{}]", quoted.join(", "))),
        [only] => ("", only.clone()),
        _ => ("# ", "\"\"".to_owned()),
    };
    format!("{mark}{} = {value}  # {source}", setting.key)
}

/// Who is known, without what could let anybody in.
fn known(resolved: &Resolved) -> Vec<String> {
    let source = match &resolved.file {
        Some(path) => Source::File(path.clone()),
        None => Source::Default,
    };
    let auth = &resolved.settings.auth;
    let keys = auth.keys.iter().map(|key| {
        format!(
            "# auth: key {} of tenant {}, sha256 ***  # {source}",
            key.id, key.tenant
        )
    });
    let issuers = auth.issuers.iter().map(|issuer| {
        let algorithm = issuer.algorithm;
        format!(
            "# auth: issuer {} with {algorithm:?}, key ***  # {source}",
            issuer.issuer
        )
    });
    let revoked = match auth.revoked.len() {
        0 => None,
        count => Some(format!("# auth: {count} revoked  # {source}")),
    };
    let mut lines: Vec<String> = keys.chain(issuers).chain(revoked).collect();
    if lines.is_empty() {
        lines.push("# auth: none, so only loopback addresses are served".to_owned());
    }
    lines
}
