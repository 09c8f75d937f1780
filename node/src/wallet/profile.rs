//! Profiles: which chain, which nodes and which wallet go together, under a name, so that nobody types them each time.
//!
//! ```toml
//! # profiles.toml in the data home
//! [home]
//! node = ["http://127.0.0.1:8645/"]
//! genesis = "/etc/dynemix/genesis.toml"
//! from = "savings"
//! ```

use crate::setup::config::data_home;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What goes together. What is left out is as it is without a profile.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// APIs of the nodes that are asked.
    #[serde(default)]
    pub node: Vec<String>,
    /// The chain's genesis file.
    pub genesis: Option<PathBuf>,
    /// Name of the wallet, or of a devnet's user.
    pub from: Option<String>,
}

/// Why there is no such profile.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// The file of all profiles.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// There is no such file.
    #[error(
        "there is no profile '{name}': profiles stand in {}, which is not there; each is a table, as [{name}] with \
         node = [\"http://127.0.0.1:8645/\"]", path.display()
    )]
    Missing {
        /// Where it would be.
        path: PathBuf,
        /// What was asked for.
        name: String,
    },
    /// The file has not its form.
    #[error("{}: {source}", path.display())]
    Form {
        /// The file of all profiles.
        path: PathBuf,
        /// What is wrong, with its line.
        source: Box<toml::de::Error>,
    },
    /// None of this name is in it.
    #[error("{} has no profile '{name}'; it has: {known}", path.display())]
    Unknown {
        /// The file of all profiles.
        path: PathBuf,
        /// What was asked for.
        name: String,
        /// Those that there are.
        known: String,
    },
}

impl Profile {
    /// The profile of this name.
    ///
    /// # Errors
    /// When there is none, or the file has not its form.
    pub fn named(name: &str) -> Result<Profile, ProfileError> {
        let path = data_home().join("profiles.toml");
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {
                return Err(ProfileError::Missing { path, name: name.to_owned() });
            }
            Err(source) => return Err(ProfileError::Read { path, source }),
        };
        let mut all: BTreeMap<String, Profile> = match toml::from_str(&text) {
            Ok(all) => all,
            Err(source) => return Err(ProfileError::Form { path, source: Box::new(source) }),
        };
        match all.remove(name) {
            Some(profile) => Ok(profile),
            None => {
                let known = all.into_keys().collect::<Vec<_>>().join(", ");
                let known = if known.is_empty() { "none".to_owned() } else { known };
                Err(ProfileError::Unknown { path, name: name.to_owned(), known })
            }
        }
    }
}
