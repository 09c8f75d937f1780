//! `dynemix block`: what a store keeps of blocks, for people and programs.

use super::args::{StoreArg, open_any};
use super::output::{OutputArgs, Shown, dynes};
use clap::Subcommand;
use dynemix::keep::record::{BlockKeys, BlockRecord};
use dynemix::setup::digits::digits;
use dynemix_engine::accounts::quilt::Quilt;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::parameters::transaction_prefix;
use dynemix_engine::chain::block::ShardBlock;
use dynemix_engine::transaction::cell::payload_outputs;
use dynemix_perf::report::{bytes, facts, grouped, table};
use dynemix_storage::Table;
use serde::Serialize;
use std::error::Error;
use std::path::Path;

type Shows<T> = Result<T, Box<dyn Error>>;

#[derive(Debug, Subcommand)]
pub(crate) enum BlockVerb {
    /// One block: header, what it changed, and its transactions where they are kept
    #[command(after_help = "\
Examples:
  dynemix block show 12 --store ~/dynemix
  dynemix block show latest --store ~/dynemix --json block.json")]
    Show {
        /// Height of a block that the store keeps, or `latest`
        #[arg(value_parser = parse_height)]
        height: Height,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Kept transactions by id or by account
    #[command(after_help = "\
Examples:
  dynemix block find --transaction 52c107ee --store ~/dynemix
  dynemix block find --account 3b6a27bc --store ~/dynemix

With all 64 digits the index is asked; with fewer every kept block is read.")]
    Find {
        /// A transaction's id, or its first 8 digits or more
        #[arg(
            long,
            value_name = "ID",
            value_parser = parse_sought,
            required_unless_present = "account",
            conflicts_with = "account"
        )]
        transaction: Option<Sought>,
        /// An account's public key, or its first 8 digits or more
        #[arg(long, value_name = "KEY", value_parser = parse_sought)]
        account: Option<Sought>,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

/// Which block is asked for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Height {
    /// The newest that is kept.
    Latest,
    /// That of this height.
    At(u64),
}

fn parse_height(text: &str) -> Result<Height, String> {
    let is_plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match text {
        "latest" => Ok(Height::Latest),
        text if is_plain => text.parse().map(Height::At).map_err(|_| format!("no chain is {text} blocks high")),
        _ => Err(format!("'{text}' is no height; write a number, or latest")),
    }
}

/// Fewer digits than this are no search: too much begins with them.
const DIGITS_MIN: usize = 8;

/// The first digits of an id or a key, perhaps all of them.
#[derive(Clone, Debug)]
pub(crate) struct Sought(String);

impl Sought {
    fn whole(&self) -> Option<Hash> {
        digits(&self.0)
    }

    fn is(&self, bytes: &Hash) -> bool {
        hex::encode(bytes).starts_with(&self.0)
    }
}

/// As tables show them too, with two points where they are cut.
fn parse_sought(text: &str) -> Result<Sought, String> {
    let begin = text.trim_end_matches('.');
    let is_plain = begin.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if !is_plain || !(DIGITS_MIN..=64).contains(&begin.len()) || (begin.len() == 64 && begin != text) {
        return Err(format!("'{text}' is not {DIGITS_MIN} to 64 hexadecimal digits in lower case"));
    }
    Ok(Sought(begin.to_owned()))
}

impl BlockVerb {
    /// Does what the flags say.
    pub(crate) fn run(self) -> Shows<()> {
        match self {
            BlockVerb::Show { height, store, output } => output.show(&block(&store.directory(), height)?),
            BlockVerb::Find { transaction, account, store, output } => {
                let (sought, table) = match (transaction, account) {
                    (Some(id), _) => (id, Table::Transactions),
                    (None, account) => (account.expect("one of the two is required"), Table::Accounts),
                };
                output.show(&find(&store.directory(), &sought, table)?)
            }
        }
    }
}

#[derive(Serialize)]
struct TransactionRow {
    id: String,
    sender: String,
    recipient: String,
    amount_units: u64,
    sequence: u64,
    payload_bytes: usize,
}

#[derive(Serialize)]
struct ShardBlockRow {
    shard: u32,
    hash: String,
    transactions: u32,
    transactions_root: String,
    patch_hash: String,
}

impl ShardBlockRow {
    fn of(header: &ShardBlock) -> ShardBlockRow {
        ShardBlockRow {
            shard: header.shard,
            hash: hex::encode(header.hash()),
            transactions: header.transactions,
            transactions_root: hex::encode(header.transactions_root),
            patch_hash: hex::encode(header.patch_hash),
        }
    }
}

/// What `block show` tells.
#[derive(Serialize)]
pub(crate) struct BlockShown {
    height: u64,
    slot: u64,
    parent_root: String,
    /// Transactions and records, those of service kinds included.
    transactions: u32,
    shard_blocks: Vec<ShardBlockRow>,
    record_bytes: usize,
    quilt_bytes: usize,
    debits: usize,
    credits: usize,
    created: usize,
    /// What went into the system's pools: payments that take effect later, stakes, names.
    to_pools_units: u64,
    moved_units: String,
    /// None where the node does not keep transactions.
    transactions_kept: Option<Vec<TransactionRow>>,
}

/// One block from the log.
fn block(directory: &Path, height: Height) -> Shows<BlockShown> {
    let opened = open_any(directory)?;
    let height = match height {
        Height::At(height) => height,
        Height::Latest => opened.store.records().last(),
    };
    let payload = opened.store.records().read(height)?;
    let record = BlockRecord::decode(&payload)?;
    let mut quilt = Quilt::default();
    quilt.decode_into(record.quilt, opened.state.columns().hot.len())?;
    let prefix = transaction_prefix(&opened.store.keeper().chain());
    let transactions: Vec<_> = record
        .transactions()?
        .iter()
        .map(|(cell, payload)| TransactionRow {
            id: hex::encode(cell.id(&prefix)),
            sender: hex::encode(cell.sender),
            recipient: hex::encode(cell.recipient),
            amount_units: cell.amount,
            sequence: cell.sequence,
            payload_bytes: payload.len(),
        })
        .collect();
    let delta = &quilt.delta;
    let headers = record.headers()?;
    let items = headers.iter().map(|header| header.transactions).sum();
    Ok(BlockShown {
        height,
        slot: quilt.slot,
        parent_root: hex::encode(quilt.parent_root),
        transactions: items,
        shard_blocks: headers.iter().map(ShardBlockRow::of).collect(),
        record_bytes: payload.len(),
        quilt_bytes: record.quilt.len(),
        debits: delta.debits.len(),
        credits: delta.credits.len(),
        created: delta.created_keys.len(),
        to_pools_units: delta.fees,
        moved_units: delta.sums().0.to_string(),
        transactions_kept: (!transactions.is_empty() || items == 0).then_some(transactions),
    })
}

/// The first digits of what one seldom needs whole: a search takes them.
fn short(hash: &str) -> String {
    format!("{}..", &hash[..12])
}

fn payment(sender: &str, recipient: &str, units: u64) -> String {
    format!("from {} to {}, {} dynes", short(sender), short(recipient), dynes(units))
}

impl Shown for BlockShown {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("height", format!("{}, slot {}", grouped(self.height), grouped(self.slot))),
            ("parent state", self.parent_root.clone()),
            ("transactions", grouped(self.transactions.into())),
            (
                "quilt",
                format!(
                    "{} debits, {} credits, {} new accounts; {}",
                    grouped(self.debits as u64),
                    grouped(self.credits as u64),
                    grouped(self.created as u64),
                    bytes(self.quilt_bytes as u64)
                ),
            ),
            (
                "moved",
                format!(
                    "{} dynes, {} of them into the system's pools until they take effect",
                    self.moved_units.parse().map_or(self.moved_units.clone(), dynes),
                    dynes(self.to_pools_units)
                ),
            ),
            ("record", bytes(self.record_bytes as u64)),
        ]);
        let row = |row: &ShardBlockRow| {
            vec![
                row.shard.to_string(),
                short(&row.hash),
                grouped(row.transactions.into()),
                short(&row.transactions_root),
                short(&row.patch_hash),
            ]
        };
        text.push('\n');
        text.push_str(&table(
            &["shard", "block", "transactions", "their root", "patch"],
            &self.shard_blocks.iter().map(row).collect::<Vec<_>>(),
        ));
        match &self.transactions_kept {
            None => text.push_str("\n  this store keeps no transactions, only what they changed\n"),
            Some(rows) => {
                const SHOWN: usize = 20;
                let shown: Vec<_> = rows
                    .iter()
                    .take(SHOWN)
                    .map(|row| {
                        let payment = payment(&row.sender, &row.recipient, row.amount_units);
                        vec![row.sequence.to_string(), format!("{}\n{payment}", row.id)]
                    })
                    .collect();
                text.push('\n');
                text.push_str(&table(&["sequence", "transaction"], &shown));
                if rows.len() > SHOWN {
                    text.push_str(&format!(
                        "  ... and {} more (--json shows all)\n",
                        grouped((rows.len() - SHOWN) as u64)
                    ));
                }
            }
        }
        text
    }
}

#[derive(Serialize)]
struct FoundRow {
    height: u64,
    place: u32,
    id: String,
    sender: String,
    recipient: String,
    amount_units: u64,
}

/// What `block find` tells.
#[derive(Serialize)]
pub(crate) struct Found {
    searched: String,
    blocks_first: u64,
    blocks_last: u64,
    found: Vec<FoundRow>,
}

/// The kept transactions of an id or an account, oldest first.
fn find(directory: &Path, sought: &Sought, table: Table) -> Shows<Found> {
    let opened = open_any(directory)?;
    let records = opened.store.records();
    let (first, last) = (records.first(), records.last());
    let prefix = transaction_prefix(&opened.store.keeper().chain());
    let heights: Vec<u64> = match sought.whole() {
        Some(key) => {
            // Occurrences come block by block: each record is read once.
            let mut heights: Vec<_> =
                records.find(table, &key, &BlockKeys { prefix })?.iter().map(|occurrence| occurrence.number).collect();
            heights.dedup();
            heights
        }
        None => (first.max(1)..=last).collect(),
    };
    let mut found = Vec::new();
    for height in heights {
        let bytes = records.read(height)?;
        for (place, (cell, payload)) in BlockRecord::decode(&bytes)?.transactions()?.iter().enumerate() {
            let id = cell.id(&prefix);
            // The index knows half of each key only, and an account may stand in the payload.
            let is_it = match table {
                Table::Transactions => sought.is(&id),
                Table::Accounts => {
                    let paid = || payload_outputs(payload).any(|output| sought.is(&output.recipient));
                    sought.is(&cell.sender) || sought.is(&cell.recipient) || paid()
                }
            };
            if is_it {
                found.push(FoundRow {
                    height,
                    place: place as u32,
                    id: hex::encode(id),
                    sender: hex::encode(cell.sender),
                    recipient: hex::encode(cell.recipient),
                    amount_units: cell.amount,
                });
            }
        }
    }
    Ok(Found { searched: sought.0.clone(), blocks_first: first, blocks_last: last, found })
}

impl Shown for Found {
    fn text(&self) -> String {
        let mut text = facts(&[
            ("searched", self.searched.clone()),
            ("blocks", format!("{} to {}", grouped(self.blocks_first), grouped(self.blocks_last))),
            ("found", grouped(self.found.len() as u64)),
        ]);
        if !self.found.is_empty() {
            const SHOWN: usize = 50;
            let rows: Vec<_> = self
                .found
                .iter()
                .take(SHOWN)
                .map(|row| {
                    let payment = payment(&row.sender, &row.recipient, row.amount_units);
                    vec![row.height.to_string(), format!("{}\n{payment}", row.id)]
                })
                .collect();
            text.push('\n');
            text.push_str(&table(&["height", "transaction"], &rows));
            if self.found.len() > SHOWN {
                text.push_str(&format!(
                    "  ... and {} more (--json shows all)\n",
                    grouped((self.found.len() - SHOWN) as u64)
                ));
            }
        }
        text
    }
}
