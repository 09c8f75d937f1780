//! Flags that several families share, and what they lead to.

use clap::{Args, ValueEnum};
use dynemix::devnet::layout::any_simd;
use dynemix::face::admin::socket_path;
use dynemix::keep::open::{OpenError, OpenedState, open};
use dynemix::setup::config::{Layered, data_home, load};
use dynemix::setup::digits::digits;
use dynemix::setup::genesis::GenesisFile;
use dynemix_engine::verify::Simd;
use dynemix_perf::report::parse_duration;
use dynemix_storage::{RealDisk, StoreError, StoreOptions, chain_of};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;

#[derive(Debug, Args, Clone)]
pub(crate) struct ConfigArgs {
    /// The node's configuration file, as `config init` writes it
    #[arg(long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// A setting, before all others
    #[arg(long, value_name = "KEY=VALUE")]
    pub(crate) set: Vec<String>,
}

impl ConfigArgs {
    /// Puts all layers together: defaults, file, environment, `--set`.
    pub(crate) fn load(&self) -> Result<Layered, Box<dyn Error>> {
        Ok(load(self.config.as_deref(), std::env::vars_os(), &self.set)?)
    }
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct DataArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Or its configuration, which names it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DataArgs {
    pub(crate) fn directory(&self) -> Result<PathBuf, Box<dyn Error>> {
        if let Some(data) = &self.data {
            // A node of a devnet has it below its own.
            let below = data.join("data");
            let is_above = !socket_path(data).exists() && socket_path(&below).exists();
            return Ok(if is_above { below } else { data.clone() });
        }
        let layered = ConfigArgs { config: self.config.clone(), set: Vec::new() }.load()?;
        if !layered.config.data.as_os_str().is_empty() {
            return Ok(layered.beside.join(&layered.config.data));
        }
        // Only the chain says then which of them it is.
        let genesis = GenesisFile::read(&layered.beside.join(&layered.config.genesis))?.genesis()?;
        Ok(data_directory(&layered, &genesis.chain.genesis_hash))
    }
}

/// Where a node of this configuration keeps everything.
pub(crate) fn data_directory(layered: &Layered, chain: &[u8; 32]) -> PathBuf {
    if layered.config.data.as_os_str().is_empty() {
        return data_home().join(hex::encode(&chain[..8]));
    }
    layered.beside.join(&layered.config.data)
}

#[derive(Debug, Args)]
pub(crate) struct DirArgs {
    /// The devnet's directory [default: devnet in the data directory]
    #[arg(long, value_name = "DIR")]
    pub(crate) dir: Option<PathBuf>,
}

impl DirArgs {
    pub(crate) fn directory(&self) -> PathBuf {
        let of_environment = || std::env::var_os("DYNEMIX_DIR").map(PathBuf::from);
        self.dir.clone().or_else(of_environment).unwrap_or_else(|| data_home().join("devnet"))
    }
}

#[derive(Debug, Args)]
pub(crate) struct SimdArg {
    /// Vector instructions of verification; auto: the best that there are
    #[arg(long, value_name = "BACKEND", default_value = "auto", value_enum)]
    simd: SimdChoice,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum SimdChoice {
    Auto,
    Portable,
    Avx2,
    #[value(name = "avx_ifma")]
    AvxIfma,
    Avx512,
}

impl SimdArg {
    /// The backend that is asked for; none: the best.
    pub(crate) fn backend(&self) -> Option<Simd> {
        match self.simd {
            SimdChoice::Auto => None,
            SimdChoice::Portable => Some(Simd::Portable),
            SimdChoice::Avx2 => Some(Simd::Avx2),
            SimdChoice::AvxIfma => Some(Simd::AvxIfma),
            SimdChoice::Avx512 => Some(Simd::Avx512),
        }
    }

    /// The same as a configuration says it.
    pub(crate) fn name(&self) -> String {
        self.backend().map_or_else(any_simd, |simd| simd.name().to_owned())
    }
}

#[derive(Debug, Args)]
pub(crate) struct StoreArg {
    /// Directory of the store, or of the node whose it is
    #[arg(long, value_name = "DIR")]
    pub(crate) store: PathBuf,
}

impl StoreArg {
    /// Where the store is: a node has it among its other files.
    pub(crate) fn directory(&self) -> PathBuf {
        let of_node = self.store.join("state");
        if of_node.is_dir() { of_node } else { self.store.clone() }
    }
}

/// A store that a running node holds.
#[derive(Debug, thiserror::Error)]
#[error("{source}, or look into it while it runs: dynemix node ask")]
struct Held {
    source: OpenError,
}

/// Opens a store of whatever chain.
pub(crate) fn open_any(directory: &Path) -> Result<OpenedState, Box<dyn Error>> {
    let disk = Arc::new(RealDisk::existing(directory)?);
    let chain = chain_of(&*disk)?;
    let options = StoreOptions { watermark_bytes: 0, window_records: u64::MAX, ..StoreOptions::default() };
    let is_held = |error: &OpenError| matches!(error, OpenError::Store(StoreError::Locked { .. }));
    open(disk, chain, None, options)
        .map_err(|source| if is_held(&source) { Held { source }.into() } else { source.into() })
}

/// A variable of the environment; none if it is not set.
///
/// # Errors
/// One that is no text: it is named, not passed over.
pub(crate) fn variable(name: &str) -> Result<Option<String>, String> {
    std::env::var_os(name).map(|value| value.into_string().map_err(|_| not_text(name))).transpose()
}

fn not_text(name: &str) -> String {
    format!("environment variable {name}: its value is not UTF-8")
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn parse_hash(text: &str) -> Result<[u8; 32], String> {
    digits(text).ok_or_else(|| format!("'{text}' is not 64 hexadecimal digits in lower case"))
}

/// Milliseconds of a time as people write it.
pub(crate) fn parse_duration_ms(text: &str) -> Result<u64, String> {
    let time = parse_duration(text)?;
    u64::try_from(time.as_millis())
        .ok()
        .filter(|&ms| ms > 0)
        .ok_or_else(|| format!("'{text}' is no time that can be waited for"))
}
