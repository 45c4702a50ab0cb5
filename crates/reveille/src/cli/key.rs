//! `reveille key`: makes up API keys.

use clap::Args;
use reveille_gateway::new_api_key;

use super::output::{line, note};
use super::settings::SettingsError;
use super::{CommandError, Outcome};

/// Make up an API key, and print what to put into the server's file
#[derive(Debug, Args)]
pub(super) struct Key {
    /// The public id of the key: letters, digits and -
    id: String,
    /// Whose it is
    #[arg(long, default_value = "default")]
    tenant: String,
    /// What it is good for
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "publish,subscribe,wait,take,trigger,cancel"
    )]
    actions: Vec<String>,
    /// In which sessions, with * for any characters
    #[arg(long, value_delimiter = ',', default_value = "*")]
    sessions: Vec<String>,
}

impl Key {
    pub(super) fn run(&self) -> Result<Outcome, CommandError> {
        let new = new_api_key(&self.id).map_err(SettingsError::from)?;
        let list = |texts: &[String]| toml::Value::from(texts.to_vec()).to_string();
        let text = |text: &str| toml::Value::from(text).to_string();
        // The notes are the part of the server's file, as it stands there.
        line(new.key.expose())?;
        note("# the key itself was shown once, on standard output");
        note(&format!(
            "[[auth.keys]]\nid = {}\nsha256 = {}\ntenant = {}\ngrants = [{{ actions = {}, sessions = {} }}]",
            text(&self.id),
            text(&new.sha256),
            text(&self.tenant),
            list(&self.actions),
            list(&self.sessions),
        ));
        Ok(Outcome::Done)
    }
}
