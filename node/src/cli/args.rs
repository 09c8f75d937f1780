//! Flags that several families share, and what they lead to.

use clap::Args;
use dynemix::devnet::layout::any_simd;
use dynemix::keep::open::{OpenedState, open};
use dynemix::setup::config::{Layered, data_home, load, simd_named};
use dynemix::setup::digits::digits;
use dynemix::setup::genesis::GenesisFile;
use dynemix_engine::verify::Simd;
use dynemix_storage::{RealDisk, StoreOptions, chain_of};
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
        Ok(load(self.config.as_deref(), std::env::vars(), &self.set)?)
    }
}

#[derive(Debug, Args)]
pub(crate) struct DataArgs {
    /// The node's data directory
    #[arg(long, value_name = "DIR", required_unless_present = "config")]
    data: Option<PathBuf>,
    /// Or its configuration, which names it
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl DataArgs {
    pub(crate) fn directory(&self) -> Result<PathBuf, Box<dyn Error>> {
        if let Some(data) = &self.data {
            return Ok(data.clone());
        }
        let layered = ConfigArgs { config: self.config.clone(), set: Vec::new() }.load()?;
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
    /// Vector instructions of verification: auto, portable, avx2 or avx512
    #[arg(long, value_name = "BACKEND", default_value = "auto", value_parser = parse_simd)]
    simd: SimdChoice,
}

/// A forced backend, or none.
#[derive(Clone, Copy, Debug)]
struct SimdChoice(Option<Simd>);

fn parse_simd(name: &str) -> Result<SimdChoice, String> {
    simd_named(name).map(SimdChoice)
}

impl SimdArg {
    /// The backend that is asked for; none: the best.
    pub(crate) fn backend(&self) -> Option<Simd> {
        self.simd.0
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

/// Opens a store of whatever chain.
pub(crate) fn open_any(directory: &Path) -> Result<OpenedState, Box<dyn Error>> {
    let disk = Arc::new(RealDisk::existing(directory)?);
    let chain = chain_of(&*disk)?;
    let options = StoreOptions { watermark_bytes: 0, window_records: u64::MAX, ..StoreOptions::default() };
    Ok(open(disk, chain, None, options)?)
}

/// 32 bytes from 64 hexadecimal digits.
pub(crate) fn parse_hash(text: &str) -> Result<[u8; 32], String> {
    digits(text).ok_or_else(|| format!("'{text}' is not 64 hexadecimal digits in lower case"))
}
