//! How the server is set up: flags over environment over one file over defaults.
//!
//! One [table](table) says what can be set; flags, `REVEILLE_*` variables, the file's keys and the
//! output of `reveille config` all come from it.

mod file;
mod given;
mod memory;
mod table;

use std::path::PathBuf;

use reveille_gateway::{AuthConfig, AuthConfigError, GatewayConfig};
use reveille_queue::{QueueLimits, TailLimits};

use super::backend::BackendArgs;
pub(super) use given::Given;
use memory::memory;
pub(super) use table::{SETTINGS, Setting};

/// Everything that is set.
#[derive(Debug, Clone)]
pub(crate) struct Settings {
    pub(crate) listen: String,
    pub(crate) admin_listen: Option<String>,
    pub(crate) tls_cert: Option<PathBuf>,
    pub(crate) tls_key: Option<PathBuf>,
    pub(crate) insecure_plain_http: bool,
    pub(crate) backend: BackendArgs,
    pub(crate) log: String,
    pub(crate) log_format: LogFormat,
    pub(crate) drain: std::time::Duration,
    pub(crate) gateway: GatewayConfig,
    pub(crate) limits: QueueLimits,
    pub(crate) tail: TailLimits,
    pub(crate) session_ttl: std::time::Duration,
    /// How often the store is looked through for sessions that are over.
    pub(crate) store_sweep: std::time::Duration,
    pub(crate) auth: AuthConfig,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// One JSON text a line.
    Json,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    Default,
    File(PathBuf),
    Environment(String),
    Flag(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => write!(f, "{}", path.display()),
            Self::Environment(name) => write!(f, "environment {name}"),
            Self::Flag(flag) => write!(f, "flag {flag}"),
        }
    }
}

/// What one setting is, and who says so.
#[derive(Debug, Clone)]
pub(crate) struct Effective {
    pub(crate) setting: &'static Setting,
    pub(crate) values: Vec<String>,
    pub(crate) source: Source,
}

/// Why the server cannot be set up as asked.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SettingsError {
    #[error("{} cannot be read", path.display())]
    File {
        path: PathBuf,
        #[source]
        source: std::io::Error,
    },
    #[error("{}: {problem}", path.display())]
    Toml { path: PathBuf, problem: String },
    #[error("{}: there is no setting {key:?}{}", path.display(), suggestion(suggested))]
    UnknownKey {
        path: PathBuf,
        key: String,
        suggested: Option<String>,
    },
    #[error("{key} ({source_of_value}): {text:?} {problem}")]
    Value {
        key: &'static str,
        source_of_value: Source,
        text: String,
        problem: &'static str,
    },
    #[error("tls_cert and tls_key belong together")]
    HalfTls,
    #[error(transparent)]
    Auth(#[from] AuthConfigError),
}

fn suggestion(suggested: &Option<String>) -> String {
    match suggested {
        Some(name) => format!("; did you mean {name}?"),
        None => String::new(),
    }
}

/// Who is known, as the file says.
pub(crate) fn auth_of(path: &std::path::Path) -> Result<AuthConfig, SettingsError> {
    Ok(file::read(path)?.auth)
}

/// What `key` may have been meant to be.
fn nearest<'a>(key: &str, known: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let distance = |name: &&str| strsim::damerau_levenshtein(key, name);
    let best = known.into_iter().min_by_key(distance)?;
    (distance(&best) <= 1 + key.len() / 4).then(|| best.to_owned())
}

impl Settings {
    /// Whether anybody is known.
    pub(crate) fn has_auth(&self) -> bool {
        !self.auth.keys.is_empty() || !self.auth.issuers.is_empty()
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:7600".to_owned(),
            admin_listen: None,
            tls_cert: None,
            tls_key: None,
            insecure_plain_http: false,
            backend: BackendArgs::default(),
            log: "warn".to_owned(),
            log_format: LogFormat::Text,
            drain: std::time::Duration::from_secs(30),
            gateway: GatewayConfig::default(),
            limits: limits(),
            tail: TailLimits::default(),
            session_ttl: std::time::Duration::from_secs(24 * 3600),
            store_sweep: std::time::Duration::from_secs(5 * 60),
            auth: AuthConfig::default(),
        }
    }
}

/// Events take up to seven tenths of what memory there is.
fn limits() -> QueueLimits {
    let mut limits = QueueLimits::default();
    if let Some(memory) = memory() {
        limits.bytes = limits.bytes.min(memory / 10 * 7);
    }
    limits
}

/// Everything that is set, and where each value comes from.
#[derive(Debug)]
pub(crate) struct Resolved {
    pub(crate) settings: Settings,
    pub(crate) effective: Vec<Effective>,
    /// The file, if there is one.
    pub(crate) file: Option<PathBuf>,
}

impl Given {
    /// Looks through all layers.
    pub(crate) fn resolve(
        &self,
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<Resolved, SettingsError> {
        let path = self.file.clone();
        let path = path.or_else(|| environment("REVEILLE_CONFIG").map(PathBuf::from));
        let mut file = match &path {
            Some(path) => file::read(path)?,
            None => file::Contents::default(),
        };
        let mut settings = Settings::default();
        let mut effective = Vec::new();
        for setting in &SETTINGS {
            let variable = setting.variable();
            let (values, source) = if let Some(values) = self.values.get(setting.key) {
                (values.clone(), Source::Flag(setting.flag()))
            } else if let Some(value) = environment(&variable) {
                (setting.split(&value), Source::Environment(variable))
            } else if let Some(values) = file.values.remove(setting.key) {
                (values, Source::File(path.clone().unwrap_or_default()))
            } else {
                let values = (setting.get)(&settings);
                effective.push(Effective {
                    setting,
                    values,
                    source: Source::Default,
                });
                continue;
            };
            let refused = |problem| SettingsError::Value {
                key: setting.key,
                source_of_value: source.clone(),
                text: values.join(","),
                problem,
            };
            (setting.set)(&mut settings, &values).map_err(refused)?;
            effective.push(Effective {
                setting,
                values: (setting.get)(&settings),
                source,
            });
        }
        if settings.tls_cert.is_some() != settings.tls_key.is_some() {
            return Err(SettingsError::HalfTls);
        }
        settings.auth = file.auth;
        Ok(Resolved {
            settings,
            effective,
            file: path,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resolve(
        file: &str,
        variables: &[(&str, &str)],
        flags: &[(&'static str, &str)],
    ) -> Result<Resolved, SettingsError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("reveille.toml");
        std::fs::write(&path, file).unwrap();
        let given = Given {
            file: Some(path),
            values: flags
                .iter()
                .map(|(key, value)| (*key, vec![(*value).to_owned()]))
                .collect(),
        };
        given.resolve(|name| {
            let found = variables.iter().find(|(known, _)| *known == name)?;
            Some(found.1.to_owned())
        })
    }

    fn source_of(resolved: &Resolved, key: &str) -> Source {
        let found = resolved.effective.iter().find(|e| e.setting.key == key);
        found.unwrap().source.clone()
    }

    #[test]
    fn flags_win_over_environment_over_file_over_defaults() {
        let file = "listen = '127.0.0.1:1'\nheartbeat = '20s'\nretry = '3s'\n";
        let variables = [
            ("REVEILLE_LISTEN", "127.0.0.1:2"),
            ("REVEILLE_HEARTBEAT", "30s"),
        ];
        let found = resolve(file, &variables, &[("listen", "127.0.0.1:3")]).unwrap();
        assert_eq!(found.settings.listen, "127.0.0.1:3");
        assert_eq!(found.settings.gateway.heartbeat.as_secs(), 30);
        assert_eq!(found.settings.gateway.retry.as_secs(), 3);
        assert_eq!(source_of(&found, "listen"), Source::Flag("--listen".into()));
        let variable = Source::Environment("REVEILLE_HEARTBEAT".into());
        assert_eq!(source_of(&found, "heartbeat"), variable);
        assert!(matches!(source_of(&found, "retry"), Source::File(_)));
        assert_eq!(source_of(&found, "drain"), Source::Default);
    }

    #[test]
    fn an_unknown_key_is_an_error_with_a_suggestion() {
        let error = resolve("lisen = 'x'\n", &[], &[]).unwrap_err().to_string();
        assert!(error.contains("did you mean listen?"), "{error}");
        let error = resolve("[auth]\nkys = []\n", &[], &[]).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("did you mean keys?"), "{error}");
    }

    #[test]
    fn a_value_that_does_not_fit_names_its_key_and_its_source() {
        let wrong = [("REVEILLE_HEARTBEAT", "soon")];
        let error = resolve("", &wrong, &[]).unwrap_err().to_string();
        assert!(
            error.contains("heartbeat (environment REVEILLE_HEARTBEAT)"),
            "{error}"
        );
        assert!(resolve("tls_cert = 'a.pem'\n", &[], &[]).is_err());
        assert!(resolve("listen = [", &[], &[]).is_err());
    }

    #[test]
    fn every_setting_reads_what_it_shows() {
        for setting in &SETTINGS {
            let mut settings = Settings::default();
            let shown = (setting.get)(&settings);
            if !shown.is_empty() {
                (setting.set)(&mut settings, &shown)
                    .unwrap_or_else(|e| panic!("{}: {e}", setting.key));
                assert_eq!((setting.get)(&settings), shown, "{}", setting.key);
            }
        }
    }

    #[test]
    fn lists_are_said_with_commas_or_as_lists() {
        let file = "origins = ['https://a.example', 'https://b.example']\n";
        let found = resolve(file, &[], &[]).unwrap();
        assert_eq!(found.settings.gateway.origins.len(), 2);
        let variables = [("REVEILLE_ORIGINS", "https://a.example, https://b.example")];
        let found = resolve("", &variables, &[]).unwrap();
        assert_eq!(found.settings.gateway.origins[1], "https://b.example");
    }
}
