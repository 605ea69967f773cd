//! Settings: flag, then environment `HEADGATE_…`, then TOML file, then default. One table of settings yields all four.
//!
//! This module knows how settings are found, checked and shown, not which there are: the executable owns the table.
//! Invariants: one name everywhere (`control_addr` is `--control-addr`, `HEADGATE_CONTROL_ADDR` and the key
//! `control_addr`); an unknown key or an unusable value is an error that says where it stands; a secret is never shown.

mod value;

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub use value::{parse_bytes, parse_duration};

/// The environment of the process, read once; tests make their own.
#[derive(Debug, Clone, Default)]
pub struct Environment(BTreeMap<String, String>);

impl Environment {
    /// Reads the environment of this process. Variables that are not UTF-8 are left out.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the implementation that the ban points to")]
    pub fn of_process() -> Self {
        let variables =
            std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
        Self(variables.collect())
    }

    /// Returns a variable; an empty one counts as unset, which is how shells and compose files unset things.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str).filter(|value| !value.is_empty())
    }

    /// Iterates over all variables by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }
}

impl<const N: usize> From<[(&str, &str); N]> for Environment {
    fn from(variables: [(&str, &str); N]) -> Self {
        Self(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }
}

/// What kind of value a setting takes; checked wherever it comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Any text.
    Text,
    /// A file or folder.
    Path,
    /// `IP:PORT`; port 0 lets the system choose.
    Address,
    /// A whole number.
    Count,
    /// A time such as `300ms`, `5s`, `2m`, `1h`.
    Duration,
    /// A size such as `512KiB`, `64MiB`, or a number of bytes.
    Bytes,
    /// `true` or `false`; as a flag it may stand alone.
    Switch,
    /// Several texts: comma-separated, or an array in the file.
    List,
    /// A URL that may hold a password; shown without it.
    Url,
    /// A secret; never shown.
    Secret,
}

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The name, in `snake_case`.
    pub name: &'static str,
    /// What it takes.
    pub kind: Kind,
    /// The value without any other; `None` when being unset has a meaning of its own.
    pub default: Option<&'static str>,
    /// One sentence for `--help`.
    pub help: &'static str,
}

impl Setting {
    /// Returns the flag, without the leading dashes.
    #[must_use]
    pub fn flag(&self) -> String {
        self.name.replace('_', "-")
    }

    /// Returns the environment variable.
    #[must_use]
    pub fn variable(&self) -> String {
        format!("HEADGATE_{}", self.name.to_uppercase())
    }
}

/// Where a value came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The command line.
    Flag,
    /// An environment variable.
    Environment,
    /// The TOML file.
    File,
    /// Nobody said anything.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// Why the settings cannot be used. Each says which and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ConfigError {
    /// The file is not TOML.
    #[error("the configuration file is not valid TOML: {0}")]
    Syntax(String),
    /// A key that no setting has.
    #[error("the configuration file has the unknown key `{key}`{}", .near.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default())]
    UnknownKey {
        /// The key as written.
        key: String,
        /// The setting with the most similar name.
        near: Option<&'static str>,
    },
    /// A value that its setting cannot take.
    #[error("`{name}` (from the {origin}) cannot be `{shown}`: expected {expected}")]
    Unusable {
        /// The setting.
        name: &'static str,
        /// Where the value came from.
        origin: Origin,
        /// The value, hidden when it is a secret.
        shown: String,
        /// What would be right.
        expected: &'static str,
    },
    /// A setting that this command needs.
    #[error("`{name}` is not set: give --{flag}, {variable} or the key `{name}` in the configuration file")]
    Missing {
        /// The setting.
        name: &'static str,
        /// Its flag.
        flag: String,
        /// Its environment variable.
        variable: String,
    },
}

/// All settings with their values, checked.
#[derive(Debug, Clone)]
pub struct Resolved {
    settings: &'static [Setting],
    values: BTreeMap<&'static str, (String, Origin)>,
}

/// Finds the value of every setting: from `flags` (by setting name), then `environment`, then the text of the TOML `file`.
///
/// Errors: the first unknown key of the file or unusable value.
pub fn resolve(
    settings: &'static [Setting],
    flags: &BTreeMap<String, String>,
    environment: &Environment,
    file: Option<&str>,
) -> Result<Resolved, ConfigError> {
    let in_file = file.map(|text| read_file(settings, text)).transpose()?.unwrap_or_default();
    let mut values = BTreeMap::new();
    for setting in settings {
        let found = flags
            .get(setting.name)
            .map(|value| (value.clone(), Origin::Flag))
            .or_else(|| environment.find(&setting.variable()).map(|value| (value.to_owned(), Origin::Environment)))
            .or_else(|| in_file.get(setting.name).map(|value| (value.clone(), Origin::File)))
            .or_else(|| setting.default.map(|value| (value.to_owned(), Origin::Default)));
        if let Some((value, origin)) = found {
            value::check(setting, &value, origin)?;
            values.insert(setting.name, (value, origin));
        }
    }
    Ok(Resolved { settings, values })
}

fn read_file(settings: &'static [Setting], text: &str) -> Result<BTreeMap<String, String>, ConfigError> {
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| ConfigError::Syntax(error.to_string()))?;
    let mut values = BTreeMap::new();
    for (key, value) in table {
        let Some(setting) = settings.iter().find(|setting| setting.name == key) else {
            let near = settings.iter().map(|setting| setting.name).find(|name| value::is_near(name, &key));
            return Err(ConfigError::UnknownKey { key, near });
        };
        let text = value::text_of(&value).ok_or_else(|| ConfigError::Unusable {
            name: setting.name,
            origin: Origin::File,
            shown: value.type_str().to_owned(),
            expected: value::expected(setting.kind),
        })?;
        values.insert(key, text);
    }
    Ok(values)
}

/// Lists `HEADGATE_…` variables that no setting has, to be warned about.
///
/// Not an error, unlike an unknown key of the file: Kubernetes puts `HEADGATE_SERVICE_HOST` and its like into the
/// environment of every pod beside a service named `headgate`.
#[must_use]
pub fn list_unknown_variables(settings: &[Setting], environment: &Environment) -> Vec<String> {
    let is_known = |name: &str| settings.iter().any(|setting| setting.variable() == name);
    environment
        .iter()
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("HEADGATE_") && !is_known(name))
        .map(str::to_owned)
        .collect()
}

impl Resolved {
    /// Returns the text of a setting, or `None` when it is unset.
    #[must_use]
    pub fn find(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|(value, _)| value.as_str())
    }

    /// Returns where a value came from.
    #[must_use]
    pub fn find_origin(&self, name: &str) -> Option<Origin> {
        self.values.get(name).map(|(_, origin)| *origin)
    }

    /// Returns the text of a setting.
    ///
    /// Errors: it is unset.
    pub fn get(&self, name: &str) -> Result<&str, ConfigError> {
        self.find(name).ok_or_else(|| self.missing(name))
    }

    /// Returns a path; `~/` stands for the home folder in `home`.
    #[must_use]
    pub fn find_path(&self, name: &str, home: Option<&str>) -> Option<PathBuf> {
        self.find(name).map(|text| match (text.strip_prefix("~/"), home) {
            (Some(rest), Some(home)) => PathBuf::from(home).join(rest),
            _ => PathBuf::from(text),
        })
    }

    /// Returns an address.
    pub fn get_address(&self, name: &str) -> Result<SocketAddr, ConfigError> {
        self.typed(name, |text| text.parse().ok())
    }

    /// Returns a time.
    pub fn get_duration(&self, name: &str) -> Result<Duration, ConfigError> {
        self.typed(name, parse_duration)
    }

    /// Returns a size in bytes.
    pub fn get_bytes(&self, name: &str) -> Result<u64, ConfigError> {
        self.typed(name, parse_bytes)
    }

    /// Returns a whole number.
    pub fn get_count(&self, name: &str) -> Result<usize, ConfigError> {
        self.typed(name, |text| text.parse().ok())
    }

    /// Returns a switch; unset is off.
    #[must_use]
    pub fn is_on(&self, name: &str) -> bool {
        self.find(name) == Some("true")
    }

    /// Returns a list; unset is empty.
    #[must_use]
    pub fn list(&self, name: &str) -> Vec<&str> {
        self.find(name).map(value::split_list).unwrap_or_default()
    }

    /// Lists every setting that has a value: name, value with secrets hidden, origin.
    #[must_use]
    pub fn list_shown(&self) -> Vec<(&'static str, String, Origin)> {
        let shown = |setting: &Setting| {
            let (value, origin) = self.values.get(setting.name)?;
            Some((setting.name, value::shown(setting.kind, value), *origin))
        };
        self.settings.iter().filter_map(shown).collect()
    }

    fn typed<T>(&self, name: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ConfigError> {
        // Checked when it was resolved; only a setting asked for under a wrong kind can fail here.
        self.get(name).and_then(|text| parse(text).ok_or_else(|| self.missing(name)))
    }

    fn missing(&self, name: &str) -> ConfigError {
        match self.settings.iter().find(|setting| setting.name == name) {
            Some(setting) => {
                ConfigError::Missing { name: setting.name, flag: setting.flag(), variable: setting.variable() }
            }
            None => ConfigError::UnknownKey { key: name.to_owned(), near: None },
        }
    }
}

#[cfg(test)]
mod tests;
