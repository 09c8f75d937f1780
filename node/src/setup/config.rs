//! The configuration of a node: TOML, in layers. What the command line says counts more than the environment, that more
//! than the file, and that more than the defaults. An unknown key is an error, wherever it stands.

use super::address::key_of_any;
use super::digits::digits;
use super::host_port::HostPort;
use super::log_filter::log_filter;
use super::memory::BUDGET_MIN;
use super::names::Names;
use super::trust::Trust;
use dynemix_engine::verify::Simd;
use dynemix_net::mesh::LinkShape;
use dynemix_perf::machine;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use toml::{Table, Value};

/// Prefix of variables of the environment: `DYNEMIX_NETWORK_LISTEN` is `network.listen`.
pub const ENVIRONMENT: &str = "DYNEMIX_";

/// The least that a node's memory may be: the network alone takes this.
const MEMORY_MIN: u64 = BUDGET_MIN as u64;
/// The least of the disk.
const STORAGE_MIN: u64 = 16 << 20;
/// The most threads that verify.
const THREADS_MAX: usize = 1_024;

/// The settings of a node, each with a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// The chain's genesis file; beside the configuration unless absolute.
    pub genesis: PathBuf,
    /// Directory of everything that the node writes; empty: by the XDG rules, one a chain.
    pub data: PathBuf,
    /// How much memory it may come to.
    pub memory: MemoryConfig,
    /// How it listens and whom it calls.
    pub network: NetworkConfig,
    /// What it mints with.
    pub minting: MintingConfig,
    /// Where it takes the time from.
    pub clock: ClockConfig,
    /// How it verifies signatures.
    pub verification: VerificationConfig,
    /// How much it keeps on disk.
    pub storage: StorageConfig,
    /// Where it answers programs, and how much.
    pub api: ApiConfig,
    /// What it writes to screen and files.
    pub log: LogConfig,
}

/// How much memory a node may come to.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Bytes of everything together; 0: half of what the computer has, 512 MiB at most. What accounts, network and API
    /// leave of it decides how many transactions of a height there is room for.
    pub limit_bytes: u64,
}

/// How a node listens and whom it calls.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NetworkConfig {
    /// Where it listens; empty: it only calls, as behind NAT.
    pub listen: String,
    /// Where others reach it, `host:port`; empty: nowhere. A name is asked for now and then.
    pub public: String,
    /// Peers beside those of genesis: `key@host:port`, the key as 64 digits. Of a minter whose address has changed since
    /// genesis this one is called as well.
    pub peers: Vec<String>,
    /// Peers without a name at most.
    pub guests_max: usize,
    /// Connections from one address at most; an IPv6 /64 is one address.
    pub address_max: usize,
    /// Bytes of memory for all connections with peers; 0: three sixteenths of `memory.limit_bytes`, 1 GiB at most.
    pub memory_bytes: usize,
    /// Whether other minters are told x of each signature's R with a transaction: a third less work for each of them, 32
    /// bytes more on the line. Worth it between computers side by side, on lines above some 300 mbit/s.
    pub hints: bool,
    /// A line that is worse than the real one, for tests: `rate=10mbit,delay=150ms,loss=0.1%`.
    pub link: String,
    /// For a node that has no chain yet: `HEIGHT:HASH` of a block that you trust. It then begins with the snapshot that
    /// this block proves. Empty: it begins with genesis.
    pub trust: String,
}

/// What it mints with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MintingConfig {
    /// Whether it mints at all.
    pub enabled: bool,
    /// Key of the account whose stake it mints for, 64 digits.
    pub account: String,
    /// The key file, beside the configuration unless absolute.
    pub keystore: PathBuf,
}

/// Where a node takes the time from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ClockConfig {
    /// `sntp`: servers are asked; `system`: the computer's clock is right, as on a devnet.
    pub source: String,
    /// SNTP servers, three at least: `host:port`.
    pub servers: Vec<String>,
    /// Seconds between two questions.
    pub every_s: u64,
    /// Milliseconds that the clock may be off before the node stops minting, and that servers may differ by.
    pub bound_ms: i64,
    /// Milliseconds that are added to the clock on purpose, for tests.
    pub shift_ms: i64,
}

/// How a node verifies signatures.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct VerificationConfig {
    /// Threads that verify users' transactions; 0: as many as there are cores.
    pub threads: usize,
    /// Vector instructions: `auto`, the best that this computer has, or `portable`, `avx2`, `avx_ifma`, `avx512`.
    pub simd: String,
}

/// How much a node keeps on disk.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// Bytes that state and blocks may take on disk.
    pub limit_bytes: u64,
    /// Bytes of a segment of the log.
    pub segment_bytes: u64,
    /// Blocks that are kept at least, as far as the limit allows.
    pub window_blocks: u64,
    /// Bytes of blocks after which a checkpoint is written.
    pub checkpoint_bytes: u64,
    /// Bytes of the disk that stay free.
    pub watermark_bytes: u64,
    /// Decoded keys that are kept in memory, 300 bytes each.
    pub key_cache_keys: usize,
    /// Heights between two snapshots for those who join; two are kept, 48 bytes an account. 0: none are made.
    pub snapshot_blocks: u64,
    /// Bytes of snapshots that are handed out in a second, to all together; guests get as many of old blocks.
    pub snapshot_bytes_per_s: u64,
}

/// Where a node answers programs, and how much.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiConfig {
    /// Where it listens; empty: nowhere.
    pub listen: String,
    /// Web pages that may ask, by their origin as browsers say it: `https://wallet.example`. All others are refused.
    pub origins: Vec<String>,
    /// Names by which this computer's own programs may ask beside `localhost` and addresses: those by which a proxy here
    /// passes questions on. A page of the web can give any other name this computer's address.
    pub hosts: Vec<String>,
    /// Bytes of a request at most.
    pub body_bytes_max: usize,
    /// Requests of a batch at most.
    pub batch_max: usize,
    /// Entries of a page at most.
    pub page_max: usize,
    /// Bytes of an answer, or of all answers of a batch, at most.
    pub answer_bytes_max: usize,
    /// Bytes that questions and answers under way may take for all connections together, beside 32 KiB of each.
    pub held_bytes_max: usize,
    /// Connections at most.
    pub connections_max: usize,
    /// Connections from one address at most (of IPv6 a /64); loopback has all of them.
    pub connections_of_address_max: usize,
    /// Subscriptions of a connection at most.
    pub subscriptions_max: usize,
    /// Transactions a second that one connection may bring; those of one address but loopback four times as many.
    pub submits_a_second: u32,
    /// Bytes a second that one connection may have read and sent for it, and those of one address four times as many;
    /// whoever has had more waits.
    pub bytes_a_second: usize,
}

/// What a node writes to screen and files.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogConfig {
    /// Filter of what is shown.
    pub screen: String,
    /// Filter of what goes to files; empty: nothing.
    pub file: String,
    /// Bytes of a file.
    pub file_bytes: u64,
    /// Files that are kept.
    pub files: usize,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            genesis: "genesis.toml".into(),
            data: PathBuf::new(),
            memory: MemoryConfig::default(),
            network: NetworkConfig::default(),
            minting: MintingConfig::default(),
            clock: ClockConfig::default(),
            verification: VerificationConfig::default(),
            storage: StorageConfig::default(),
            api: ApiConfig::default(),
            log: LogConfig::default(),
        }
    }
}

impl Default for NetworkConfig {
    fn default() -> Self {
        NetworkConfig {
            listen: "0.0.0.0:7645".into(),
            public: String::new(),
            peers: Vec::new(),
            guests_max: 256,
            address_max: 16,
            memory_bytes: 0,
            hints: false,
            link: String::new(),
            trust: String::new(),
        }
    }
}

impl Default for MintingConfig {
    fn default() -> Self {
        MintingConfig { enabled: false, account: String::new(), keystore: "keys/minting.json".into() }
    }
}

impl Default for ClockConfig {
    fn default() -> Self {
        let servers = ["0.pool.ntp.org:123", "1.pool.ntp.org:123", "time.cloudflare.com:123", "time.google.com:123"];
        ClockConfig {
            source: "sntp".into(),
            servers: servers.map(String::from).to_vec(),
            every_s: 300,
            bound_ms: 500,
            shift_ms: 0,
        }
    }
}

impl Default for VerificationConfig {
    fn default() -> Self {
        VerificationConfig { threads: 0, simd: "auto".into() }
    }
}

impl Default for StorageConfig {
    fn default() -> Self {
        StorageConfig {
            limit_bytes: 64 << 30,
            segment_bytes: 64 << 20,
            window_blocks: 4_096,
            checkpoint_bytes: 128 << 20,
            watermark_bytes: 1 << 30,
            key_cache_keys: 46_000,
            snapshot_blocks: 1_024,
            snapshot_bytes_per_s: 1 << 20,
        }
    }
}

impl Default for ApiConfig {
    fn default() -> Self {
        ApiConfig {
            listen: "127.0.0.1:8645".into(),
            origins: Vec::new(),
            hosts: Vec::new(),
            body_bytes_max: 1 << 20,
            batch_max: 100,
            page_max: 1_000,
            answer_bytes_max: 8 << 20,
            held_bytes_max: 16 << 20,
            connections_max: 256,
            connections_of_address_max: 64,
            subscriptions_max: 100,
            submits_a_second: 1_000,
            bytes_a_second: 16 << 20,
        }
    }
}

impl Default for LogConfig {
    fn default() -> Self {
        LogConfig { screen: "info".into(), file: "dynemix=debug".into(), file_bytes: 200 << 20, files: 5 }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("read {}: {source}", path.display())]
    Read {
        /// Configuration file that was named.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Not TOML, or not of this form.
    #[error("{}: {source}", path.display())]
    Syntax {
        /// Configuration file that was named.
        path: PathBuf,
        /// What is wrong, with its line.
        source: Box<toml::de::Error>,
    },
    /// A key that there is not, or a value of another kind.
    #[error("{origin}: {what}")]
    Setting {
        /// Which layer says so: a flag, a variable, the file.
        origin: String,
        /// What is wrong.
        what: String,
    },
}

/// A configuration and where each setting comes from.
#[derive(Debug)]
pub struct Layered {
    /// The settings that count.
    pub config: Config,
    /// By key: the layer.
    pub origins: BTreeMap<String, String>,
    /// The directory that relative paths are relative to.
    pub beside: PathBuf,
}

fn wrong(origin: &str, what: impl Into<String>) -> ConfigError {
    ConfigError::Setting { origin: origin.to_owned(), what: what.into() }
}

/// The keys of all settings with their values.
fn leaves(prefix: &str, table: &Table, out: &mut BTreeMap<String, Value>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            Value::Table(table) => leaves(&key, table, out),
            value => drop(out.insert(key, value.clone())),
        }
    }
}

/// A value as a person writes it on a command line, of the kind that the setting has.
fn parse(like: &Value, text: &str) -> Option<Value> {
    Some(match like {
        Value::Integer(_) => Value::Integer(text.parse().ok()?),
        Value::Boolean(_) => Value::Boolean(text.parse().ok()?),
        Value::Float(_) => Value::Float(text.parse().ok()?),
        Value::Array(_) => Value::Array(
            text.split(',').filter(|part| !part.is_empty()).map(|part| Value::String(part.trim().into())).collect(),
        ),
        _ => Value::String(text.into()),
    })
}

/// Whether a variable of the environment is meant for a node's settings. Some with our prefix have other meanings, and
/// who runs containers sets some in all of them for a service that is called as we are.
fn is_setting(name: &str) -> bool {
    const OURS: [&str; 4] = ["LOG", "PASSPHRASE", "BLESS", "DIR"];
    let Some(rest) = name.strip_prefix(ENVIRONMENT) else { return false };
    let of_service = rest == "PORT" || ["PORT_", "SERVICE_"].iter().any(|begin| rest.starts_with(begin));
    !of_service && !OURS.contains(&rest)
}

/// Reads all layers. `settings` are `key=value` of the command line.
///
/// # Errors
/// The first thing that is wrong, with its layer.
pub fn load(
    file: Option<&Path>,
    environment: impl Iterator<Item = (OsString, OsString)>,
    settings: &[String],
) -> Result<Layered, ConfigError> {
    let defaults = Table::try_from(Config::default()).expect("plain fields");
    let mut values = BTreeMap::new();
    leaves("", &defaults, &mut values);
    let mut origins: BTreeMap<String, String> = values.keys().map(|key| (key.clone(), "default".to_owned())).collect();
    let mut set = |key: &str, value: Value, origin: &str, values: &mut BTreeMap<String, Value>| {
        values.insert(key.to_owned(), value);
        origins.insert(key.to_owned(), origin.to_owned());
    };
    if let Some(path) = file {
        let text = fs::read_to_string(path).map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
        let syntax = |source| ConfigError::Syntax { path: path.to_owned(), source: Box::new(source) };
        // Read as a whole first: its errors name the line.
        toml::from_str::<Config>(&text).map_err(syntax)?;
        let table: Table = toml::from_str(&text).map_err(syntax)?;
        let mut of_file = BTreeMap::new();
        leaves("", &table, &mut of_file);
        of_file.into_iter().for_each(|(key, value)| set(&key, value, "file", &mut values));
    }
    let keys: BTreeMap<String, String> = values
        .keys()
        .map(|key| (format!("{ENVIRONMENT}{}", key.replace('.', "_").to_uppercase()), key.clone()))
        .collect();
    for (name, text) in environment {
        // Other programs' variables need not even be text.
        let Some(name) = name.to_str().filter(|name| is_setting(name)) else { continue };
        let wrong = |what: String| wrong(&format!("environment variable {name}"), what);
        let key = keys.get(name).ok_or_else(|| wrong("there is no such setting".into()))?;
        let text = text.into_string().map_err(|_| wrong("its value is not UTF-8".into()))?;
        let value = parse(&values[key], &text).ok_or_else(|| wrong(format!("'{text}' is no value of {key}")))?;
        set(key, value, &format!("environment ({name})"), &mut values);
    }
    for setting in settings {
        let origin = format!("--set {setting}");
        let (key, text) = setting.split_once('=').ok_or_else(|| wrong(&origin, "write key=value"))?;
        let like =
            values.get(key.trim()).ok_or_else(|| wrong(&origin, format!("there is no setting '{}'", key.trim())))?;
        let value = parse(like, text.trim())
            .ok_or_else(|| wrong(&origin, format!("'{}' is no value of {}", text.trim(), key.trim())))?;
        set(key.trim(), value, "command line", &mut values);
    }
    let mut table = Table::new();
    for (key, value) in values {
        let mut at = &mut table;
        let (path, leaf) = key.rsplit_once('.').unwrap_or(("", &key));
        for part in path.split('.').filter(|part| !part.is_empty()) {
            at = at.entry(part).or_insert_with(|| Value::Table(Table::new())).as_table_mut().expect("made so");
        }
        at.insert(leaf.to_owned(), value);
    }
    let config: Config = table.try_into().map_err(|error: toml::de::Error| wrong("configuration", error.message()))?;
    let beside = file.and_then(Path::parent).unwrap_or(Path::new("")).to_owned();
    config.check()?;
    Ok(Layered { config, origins, beside })
}

/// What is to be known of an API that listens to others than this computer.
pub fn open_to_all(place: &HostPort) -> String {
    format!(
        "api.listen = \"{place}\": whoever reaches that port may read everything and hand in transactions, unencrypted. If \
         that is not meant, write 127.0.0.1; if it is, put a proxy with TLS before it"
    )
}

fn place(key: &str, text: &str) -> Result<Option<HostPort>, ConfigError> {
    if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(|error: String| wrong(key, error)) }
}

impl Config {
    /// Checks what the form alone does not say.
    ///
    /// # Errors
    /// The first setting that is wrong.
    pub fn check(&self) -> Result<(), ConfigError> {
        self.listen()?;
        self.names()?;
        self.api_listen()?;
        self.link()?;
        self.trust()?;
        self.simd()?;
        for (key, path) in
            [("genesis", &self.genesis), ("data", &self.data), ("minting.keystore", &self.minting.keystore)]
        {
            // A shell takes it for the own directory; here it would be one that is called so.
            if path.to_string_lossy().starts_with('~') {
                let path = path.display();
                return Err(wrong(
                    key,
                    format!("'{path}' begins with '~', which only a shell knows: write the whole path"),
                ));
            }
        }
        if !["sntp", "system"].contains(&self.clock.source.as_str()) {
            return Err(wrong("clock.source", "it is 'sntp' or 'system'"));
        }
        if self.clock.source == "sntp" && self.clock.servers.len() < 3 {
            return Err(wrong("clock.servers", "three servers at least: of two nobody knows which one lies"));
        }
        if (1..BUDGET_MIN).contains(&self.network.memory_bytes) {
            return Err(wrong("network.memory_bytes", format!("0, or {BUDGET_MIN} and more: a committee needs room")));
        }
        if !(10..=10_000).contains(&self.clock.bound_ms) {
            return Err(wrong("clock.bound_ms", "between 10 and 10000"));
        }
        if self.minting.enabled && key_of_any(&self.minting.account).is_err() {
            return Err(wrong(
                "minting.account",
                "the address or key (64 hexadecimal digits in lower case) of the account whose stake this node mints for",
            ));
        }
        self.check_limits()?;
        for (key, filter) in [("log.screen", &self.log.screen), ("log.file", &self.log.file)] {
            if key == "log.screen" || !filter.is_empty() {
                log_filter(filter).map_err(|error| wrong(key, error))?;
            }
        }
        Ok(())
    }

    /// Limits that would leave nothing to work with.
    fn check_limits(&self) -> Result<(), ConfigError> {
        let Config { memory, network, clock, verification, storage, api, log, .. } = self;
        let none_or = |value: u64, least: u64| if value == 0 { least } else { value };
        for (key, value, least) in [
            ("memory.limit_bytes", none_or(memory.limit_bytes, MEMORY_MIN), MEMORY_MIN),
            ("network.address_max", network.address_max as u64, 1),
            ("clock.every_s", clock.every_s, 16),
            ("storage.segment_bytes", storage.segment_bytes, 8 << 10),
            ("storage.limit_bytes", storage.limit_bytes, storage.segment_bytes.saturating_mul(4).max(STORAGE_MIN)),
            ("storage.checkpoint_bytes", storage.checkpoint_bytes, 4 << 10),
            ("storage.window_blocks", storage.window_blocks, 1),
            ("storage.key_cache_keys", storage.key_cache_keys as u64, 1),
            ("storage.snapshot_bytes_per_s", storage.snapshot_bytes_per_s, 1 << 10),
            ("api.body_bytes_max", api.body_bytes_max as u64, 1 << 10),
            ("api.batch_max", api.batch_max as u64, 1),
            ("api.page_max", api.page_max as u64, 1),
            ("api.answer_bytes_max", api.answer_bytes_max as u64, 64 << 10),
            ("api.held_bytes_max", api.held_bytes_max as u64, 2 * api.answer_bytes_max.max(api.body_bytes_max) as u64),
            ("api.connections_max", api.connections_max as u64, 2),
            ("api.connections_of_address_max", api.connections_of_address_max as u64, 1),
            ("api.submits_a_second", api.submits_a_second.into(), 1),
            ("api.bytes_a_second", api.bytes_a_second as u64, 64 << 10),
            ("log.file_bytes", log.file_bytes, 4 << 10),
            ("log.files", log.files as u64, 1),
        ] {
            if value < least {
                return Err(wrong(key, format!("{value} is too little; {least} at least")));
            }
        }
        if verification.threads > THREADS_MAX {
            return Err(wrong("verification.threads", format!("{THREADS_MAX} at most; 0: as many as there are cores")));
        }
        Ok(())
    }

    /// Where it listens.
    ///
    /// # Errors
    /// A setting that is no place.
    pub fn listen(&self) -> Result<Option<HostPort>, ConfigError> {
        place("network.listen", &self.network.listen)
    }

    /// Where the API listens.
    ///
    /// # Errors
    /// A setting that is no place.
    pub fn api_listen(&self) -> Result<Option<HostPort>, ConfigError> {
        place("api.listen", &self.api.listen)
    }

    /// The line.
    ///
    /// # Errors
    /// A setting that describes no line.
    pub fn link(&self) -> Result<LinkShape, ConfigError> {
        self.network.link.parse().map_err(|error| wrong("network.link", format!("{error}")))
    }

    /// The vector instructions that are asked for; none: the best.
    ///
    /// # Errors
    /// A setting that names none.
    pub fn simd(&self) -> Result<Option<Simd>, ConfigError> {
        simd_named(&self.verification.simd).map_err(|error| wrong("verification.simd", error))
    }

    /// The block that is trusted, if one is.
    ///
    /// # Errors
    /// No height and hash.
    pub fn trust(&self) -> Result<Option<Trust>, ConfigError> {
        let text = &self.network.trust;
        let read = || text.parse().map_err(|error: String| wrong("network.trust", error));
        if text.is_empty() { Ok(None) } else { read().map(Some) }
    }

    /// Peers to call, and where this node is reached, as the operator has written it.
    ///
    /// # Errors
    /// One that is none.
    pub fn names(&self) -> Result<Names, ConfigError> {
        let one = |text: &String| {
            let wrong = || wrong("network.peers", format!("'{text}' is no peer; write key@host:port"));
            let (key, at) = text.split_once('@').ok_or_else(wrong)?;
            let at = place("network.peers", at)?.ok_or_else(wrong)?;
            Ok((digits(key).ok_or_else(wrong)?, at))
        };
        let peers = self.network.peers.iter().map(one).collect::<Result<_, ConfigError>>()?;
        Ok(Names { peers, public: place("network.public", &self.network.public)? })
    }
}

impl VerificationConfig {
    /// Threads that verify users' transactions.
    pub fn threads(&self) -> usize {
        if self.threads == 0 { machine::cores() } else { self.threads }
    }
}

/// The backend of a name; none of `auto`.
///
/// # Errors
/// A name that none has.
pub fn simd_named(name: &str) -> Result<Option<Simd>, String> {
    if name == "auto" { Ok(None) } else { name.parse().map(Some) }
}

/// The directory of a chain's data by the XDG rules.
pub fn data_home() -> PathBuf {
    let of = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    of("XDG_DATA_HOME")
        .or_else(|| Some(of("HOME")?.join(".local/share")))
        .unwrap_or_else(|| PathBuf::from("."))
        .join("dynemix")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(pairs: &[(&str, &str)]) -> impl Iterator<Item = (OsString, OsString)> {
        pairs.iter().map(|(name, value)| (name.into(), value.into())).collect::<Vec<_>>().into_iter()
    }

    #[test]
    fn variables_of_others_say_nothing_and_our_own_are_text() {
        use std::os::unix::ffi::OsStringExt;
        let bytes = |text: &[u8]| OsString::from_vec(text.to_vec());
        let foreign = [
            (bytes(b"JOSE"), bytes(b"Jos\xe9")),
            (bytes(b"N\xe9"), bytes(b"1")),
            (bytes(b"DYNEMIX_PORT"), bytes(b"tcp://10.0.0.7:7645")),
            (bytes(b"DYNEMIX_PORT_7645_TCP_ADDR"), bytes(b"10.0.0.7")),
            (bytes(b"DYNEMIX_SERVICE_HOST"), bytes(b"10.0.0.7")),
        ];
        assert!(load(None, foreign.into_iter(), &[]).is_ok());
        let ours = [(bytes(b"DYNEMIX_NETWORK_LISTEN"), bytes(b"\xe9:1"))];
        let error = load(None, ours.into_iter(), &[]).unwrap_err().to_string();
        assert!(error.contains("DYNEMIX_NETWORK_LISTEN") && error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn layers_count_in_their_order_and_say_where_each_setting_comes_from() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.toml");
        fs::write(
            &path,
            "[network]\nlisten = \"127.0.0.1:1\"\npublic = \"127.0.0.1:2\"\n[clock]\nsource = \"system\"\n",
        )
        .unwrap();
        let loaded = load(
            Some(&path),
            env(&[("DYNEMIX_NETWORK_PUBLIC", "127.0.0.1:3"), ("DYNEMIX_LOG", "x"), ("HOME", "/")]),
            &["clock.bound_ms=70".into()],
        )
        .unwrap();
        assert_eq!(loaded.config.network.listen, "127.0.0.1:1");
        assert_eq!(loaded.config.network.public, "127.0.0.1:3");
        assert_eq!(loaded.config.clock.bound_ms, 70);
        let origin = |key: &str| loaded.origins[key].as_str();
        assert_eq!(
            (origin("network.listen"), origin("clock.bound_ms"), origin("log.screen")),
            ("file", "command line", "default")
        );
        assert!(origin("network.public").contains("DYNEMIX_NETWORK_PUBLIC"));
    }

    #[test]
    fn what_is_unknown_or_wrong_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("node.toml");
        let with = |text: &str| {
            fs::write(&path, text).unwrap();
            load(Some(&path), env(&[]), &[]).unwrap_err().to_string()
        };
        assert!(with("[network]\nlisten_at = \"x\"\n").contains("listen_at"));
        assert!(with("[network]\nlisten = 5\n").contains("listen"));
        assert!(with("[network]\nlisten = \"nowhere\"\n").contains("nowhere"));
        assert!(with("[minting]\nenabled = true\n").contains("minting.account"));
        assert!(with("[network]\nlink = \"rate=fast\"\n").contains("rate=fast"));
        assert!(with("[verification]\nsimd = \"mmx\"\n").contains("mmx"));
        let by = |settings: &str| load(None, env(&[]), &[settings.to_owned()]).unwrap_err().to_string();
        for setting in [
            "memory.limit_bytes=100",
            "storage.limit_bytes=100",
            "storage.segment_bytes=1",
            "clock.every_s=0",
            "verification.threads=100000",
            "log.files=0",
            "log.screen=loud",
            "api.page_max=0",
            "network.listen=2001:db8::5:7645",
            "network.peers=key@host",
            "data=~/x",
        ] {
            let key = setting.split('=').next().unwrap();
            assert!(by(setting).contains(key), "{setting}: {}", by(setting));
        }
        assert!(by("network.listenn=1").contains("listenn") && by("clock.bound_ms=long").contains("long"));
        assert!(load(None, env(&[("DYNEMIX_NETWORK_LISTN", "x")]), &[]).unwrap_err().to_string().contains("LISTN"));
    }
}
