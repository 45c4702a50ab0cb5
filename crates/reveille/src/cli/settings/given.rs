//! What the command line says.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches};

use super::table::SETTINGS;

/// What the command line says.
#[derive(Debug, Clone, Default)]
pub(crate) struct Given {
    /// The file.
    pub(super) file: Option<PathBuf>,
    /// Values by key.
    pub(super) values: BTreeMap<&'static str, Vec<String>>,
}

impl Args for Given {
    fn augment_args(command: Command) -> Command {
        let file = Arg::new("config")
            .long("config")
            .value_name("FILE")
            .value_parser(clap::value_parser!(PathBuf))
            .help("Read settings from this TOML file [env: REVEILLE_CONFIG]");
        SETTINGS.iter().fold(command.arg(file), |command, setting| {
            let flag = setting.flag();
            let mut arg = Arg::new(setting.key)
                .long(flag.trim_start_matches("--").to_owned())
                .value_name(setting.value_name)
                .help(format!("{} [env: {}]", setting.help, setting.variable()));
            if setting.is_list {
                arg = arg.action(ArgAction::Append);
            }
            if setting.value_name == "BOOL" {
                arg = arg.num_args(0..=1).default_missing_value("true");
            }
            if let Some(old) = setting.old_flag {
                arg = arg.alias(old);
            }
            command.arg(arg)
        })
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for Given {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self {
            file: matches.get_one("config").cloned(),
            values: BTreeMap::new(),
        };
        for setting in &SETTINGS {
            if let Some(values) = matches.get_many::<String>(setting.key) {
                given.values.insert(setting.key, values.cloned().collect());
            }
        }
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        *self = Self::from_arg_matches(matches)?;
        Ok(())
    }
}
