//! `dynemix block`: what a store keeps of blocks, for people and programs.

use super::args::{StoreArg, open_any, parse_hash};
use super::output::{OutputArgs, Shown, dynes};
use clap::Subcommand;
use dynemix::keep::record::{BlockKeys, BlockRecord};
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
  dynemix block show 12 --store ~/dynemix --json block.json")]
    Show {
        /// Height of a block that the store keeps
        height: u64,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
    /// Kept transactions by id or by account
    #[command(after_help = "\
Examples:
  dynemix block find --transaction 52c1...07ee --store ~/dynemix
  dynemix block find --account 3b6a...da29 --store ~/dynemix")]
    Find {
        /// A transaction's id, 64 hexadecimal digits
        #[arg(
            long,
            value_name = "ID",
            value_parser = parse_hash,
            required_unless_present = "account",
            conflicts_with = "account"
        )]
        transaction: Option<Hash>,
        /// An account's public key, 64 hexadecimal digits
        #[arg(long, value_name = "KEY", value_parser = parse_hash)]
        account: Option<Hash>,
        #[command(flatten)]
        store: StoreArg,
        #[command(flatten)]
        output: OutputArgs,
    },
}

impl BlockVerb {
    /// Does what the flags say.
    pub(crate) fn run(self) -> Shows<()> {
        match self {
            BlockVerb::Show { height, store, output } => output.show(&block(&store.directory(), height)?),
            BlockVerb::Find { transaction, account, store, output } => {
                let (key, table) = match (transaction, account) {
                    (Some(id), _) => (id, Table::Transactions),
                    (None, account) => (account.expect("one of the two is required"), Table::Accounts),
                };
                output.show(&find(&store.directory(), &key, table)?)
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
    fees_units: u64,
    moved_units: String,
    /// None where the node does not keep transactions.
    transactions_kept: Option<Vec<TransactionRow>>,
}

/// One block from the log.
pub(crate) fn block(directory: &Path, height: u64) -> Shows<BlockShown> {
    let opened = open_any(directory)?;
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
        fees_units: delta.fees,
        moved_units: delta.sums().0.to_string(),
        transactions_kept: (!transactions.is_empty() || items == 0).then_some(transactions),
    })
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
                    "{} dynes, fees {}",
                    self.moved_units.parse().map_or(self.moved_units.clone(), dynes),
                    dynes(self.fees_units)
                ),
            ),
            ("record", bytes(self.record_bytes as u64)),
        ]);
        let short = |hash: &str| format!("{}..", &hash[..16]);
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
                        vec![
                            short(&row.id),
                            short(&row.sender),
                            short(&row.recipient),
                            row.sequence.to_string(),
                            dynes(row.amount_units),
                        ]
                    })
                    .collect();
                text.push('\n');
                text.push_str(&table(&["transaction", "sender", "recipient", "sequence", "dynes"], &shown));
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
pub(crate) fn find(directory: &Path, key: &[u8; 32], table: Table) -> Shows<Found> {
    let opened = open_any(directory)?;
    let records = opened.store.records();
    let prefix = transaction_prefix(&opened.store.keeper().chain());
    let mut found = Vec::new();
    let occurrences = records.find(table, key, &BlockKeys { prefix })?;
    // Occurrences come block by block: each record is read once.
    for in_block in occurrences.chunk_by(|a, b| a.number == b.number) {
        let height = in_block[0].number;
        let bytes = records.read(height)?;
        let record = BlockRecord::decode(&bytes)?;
        let transactions = record.transactions()?;
        let mut places: Vec<_> = in_block.iter().map(|occurrence| occurrence.place).collect();
        places.dedup();
        for place in places {
            let Some((cell, payload)) = transactions.get(place as usize) else { continue };
            let id = cell.id(&prefix);
            // The index knows half of each key only, and an account may stand in the payload.
            let is_it = match table {
                Table::Transactions => id == *key,
                Table::Accounts => {
                    let paid = || payload_outputs(payload).any(|output| output.recipient == *key);
                    cell.sender == *key || cell.recipient == *key || paid()
                }
            };
            if is_it {
                let (id, sender, recipient) = (hex::encode(id), hex::encode(cell.sender), hex::encode(cell.recipient));
                found.push(FoundRow { height, place, id, sender, recipient, amount_units: cell.amount });
            }
        }
    }
    Ok(Found { searched: hex::encode(key), blocks_first: records.first(), blocks_last: records.last(), found })
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
            let short = |hash: &str| format!("{}..", &hash[..16]);
            let rows: Vec<_> = self
                .found
                .iter()
                .take(SHOWN)
                .map(|row| {
                    vec![
                        row.height.to_string(),
                        short(&row.id),
                        short(&row.sender),
                        short(&row.recipient),
                        dynes(row.amount_units),
                    ]
                })
                .collect();
            text.push('\n');
            text.push_str(&table(&["height", "transaction", "sender", "recipient", "dynes"], &rows));
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
