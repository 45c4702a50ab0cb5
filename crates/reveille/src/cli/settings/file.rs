//! The file: keys of the table, and who is known under `[auth]`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use reveille_gateway::AuthConfig;
use serde::Deserialize;
use toml::{Table, Value};

use super::table::SETTINGS;
use super::{SettingsError, nearest};

/// The only table in the file.
const AUTH: &str = "auth";

/// What the file says.
#[derive(Debug, Default)]
pub(super) struct Contents {
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
    pub(super) auth: AuthConfig,
}

pub(super) fn read(path: &Path) -> Result<Contents, SettingsError> {
    let text = fs::read_to_string(path).map_err(|source| SettingsError::File {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |problem: String| SettingsError::Toml {
        path: path.to_owned(),
        problem,
    };
    let table: Table = toml::from_str(&text).map_err(|e| wrong(located(&e, &text)))?;
    let mut contents = Contents::default();
    for (key, value) in table {
        if key == AUTH {
            contents.auth = auth(path, value)?;
            continue;
        }
        let known = SETTINGS.iter().find(|setting| setting.key == key);
        let Some(setting) = known else {
            let names = SETTINGS.iter().map(|s| s.key).chain([AUTH]);
            return Err(SettingsError::UnknownKey {
                suggested: nearest(&key, names),
                path: path.to_owned(),
                key,
            });
        };
        let values = match value {
            Value::Array(list) if setting.is_list => {
                list.iter().map(scalar).collect::<Option<Vec<_>>>()
            }
            value => scalar(&value).map(|value| vec![value]),
        };
        let values = values.ok_or_else(|| wrong(format!("{key} is no plain value")))?;
        contents.values.insert(setting.key, values);
    }
    Ok(contents)
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Integer(number) => Some(number.to_string()),
        Value::Boolean(yes) => Some(yes.to_string()),
        _ => None,
    }
}

fn auth(path: &Path, value: Value) -> Result<AuthConfig, SettingsError> {
    AuthConfig::deserialize(value).map_err(|error| {
        let problem = error.message();
        match unknown_field(problem) {
            Some((key, known)) => SettingsError::UnknownKey {
                path: path.to_owned(),
                suggested: nearest(key, known),
                key: format!("auth: {key}"),
            },
            None => SettingsError::Toml {
                path: path.to_owned(),
                problem: format!("auth: {problem}"),
            },
        }
    })
}

/// The name of a field that is not known, and the names that are, from the words of serde.
fn unknown_field(problem: &str) -> Option<(&str, Vec<&str>)> {
    let mut names = problem
        .strip_prefix("unknown field")?
        .split('`')
        .skip(1)
        .step_by(2);
    Some((names.next()?, names.collect()))
}

/// What is wrong and in which line, without the text of the line, which may be a secret.
fn located(error: &toml::de::Error, text: &str) -> String {
    let at = error.span().map_or(0, |span| span.start);
    let line = 1 + text.get(..at).unwrap_or_default().matches('\n').count();
    format!("line {line}: {}", error.message())
}
