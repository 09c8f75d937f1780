//! Bounds that must fit each other, in one place, so that none can be changed without the others. Each is checked
//! against those that it depends on when the program is built; a bound that depends on nothing else stays beside its
//! reason.
//!
//! Those that only cost memory and time have a second, tiny preset (feature `tiny-limits`): tests reach full pools,
//! sets and windows with it in a second.

/// Bytes of a cell.
pub const CELL_BYTES: usize = 192;
/// Bytes of a cell that its signature covers, after the chain's 32-byte prefix.
pub const CELL_SIGNED_BYTES: usize = 128;
/// Bytes that a signature is made over: prefix, then the signed part of the cell.
pub const SIGNED_BYTES: usize = 32 + CELL_SIGNED_BYTES;
/// Outputs of a MultiTransfer at most, the one in the cell included.
pub const OUTPUTS_MAX: u16 = 100;
/// Bytes of a further output in a MultiTransfer's payload: recipient key 32, amount 8.
pub const OUTPUT_BYTES: usize = 40;
/// Bytes of a Stake's payload: voting key 96, proof of possession 48.
pub const STAKE_PAYLOAD_BYTES: usize = 96 + 48;
/// Bytes of a name at most.
pub const NAME_BYTES_MAX: usize = 32;
/// The largest payload of any kind.
pub const PAYLOAD_BYTES_MAX: usize = (OUTPUTS_MAX as usize - 1) * OUTPUT_BYTES;
/// Bytes of a transaction's item at most: tag, cell, payload.
pub const TRANSACTION_BYTES_MAX: usize = 1 + CELL_BYTES + PAYLOAD_BYTES_MAX;
/// Bytes of an item at least: an attestation that nobody has signed is the shortest. What is shorter is neither record
/// nor transaction, and costs more in memory than on its way.
pub const ITEM_BYTES_MIN: usize = 100;
/// Bytes of an item on its way at least: flags, two known accounts, five numbers and a signature.
pub const ITEM_WIRE_BYTES_MIN: usize = 1 + 2 + 5 + 64;
/// Bytes of an item at most: a proof with its path and a whole transaction.
pub const ITEM_BYTES_MAX: usize = 8_192;

/// Seats at most: a bitmap of them has less than 256 bytes.
pub const SEATS_MAX: usize = 1_984;
/// Seats of the master round: in a larger committee each shard sends those of its minters with the largest stakes.
pub const DELEGATES_MAX: usize = 400;
/// Shards that a message may speak of.
pub const SHARDS_MAX: usize = SEATS_MAX;

/// Transactions of a shard-block that cost a pairing at most.
pub const HEAVY_MAX: usize = 64;
/// Accounts that a shard-block opens at most: each key costs every node a square root, some 6 us, so a block's keys less
/// than half a second.
pub const CREATED_MAX: u64 = 1 << 16;
/// Bytes of a shard-block's items at most.
pub const BLOCK_BYTES_MAX: usize = 32 << 20;
/// Bytes of a message at most: final blocks in blockchain mode travel whole.
pub const MESSAGE_BYTES_MAX: usize = 80 << 20;
/// Bytes of kept messages that came before their time, of one sender.
pub const EARLY_BYTES_MAX: usize = 2 << 20;

/// Items of a minter's set at most.
pub const SET_ITEMS_MAX: usize = PRESET.set_items_max;
/// Items of other minters' sets that the own one has not, here or asked for, of all of them together at one height: what
/// can be fetched and verified between sets and lists is less.
pub const FOREIGN_ITEMS_MAX: usize = PRESET.foreign_items_max;
/// Transactions that wait in a minter's pool at most.
pub const POOL_TRANSACTIONS_MAX: usize = PRESET.pool_transactions_max;
/// Transactions of its own users that a node forwards at most, until they are final.
pub const FORWARDED_MAX: usize = PRESET.forwarded_max;
/// Transactions that a node forwards for one height at first.
pub const WINDOW_FIRST: usize = PRESET.window_first;
/// The narrowest such window.
pub const WINDOW_MIN: usize = PRESET.window_min;

struct Preset {
    set_items_max: usize,
    foreign_items_max: usize,
    pool_transactions_max: usize,
    forwarded_max: usize,
    window_first: usize,
    window_min: usize,
}

const FULL: Preset = Preset {
    set_items_max: 400_000,
    foreign_items_max: 1 << 15,
    pool_transactions_max: 400_000,
    forwarded_max: 300_000,
    window_first: 32_768,
    window_min: 256,
};

const TINY: Preset = Preset {
    set_items_max: 400,
    foreign_items_max: 400,
    pool_transactions_max: 400,
    forwarded_max: 300,
    window_first: 128,
    window_min: 8,
};

const PRESET: Preset = if cfg!(feature = "tiny-limits") { TINY } else { FULL };

impl Preset {
    /// Whether its bounds fit each other.
    const fn fits(&self) -> bool {
        // What a pool holds must be able to close as a set, and what one node forwards must fit a pool.
        self.pool_transactions_max <= self.set_items_max
            && self.foreign_items_max <= self.set_items_max
            && self.forwarded_max <= self.pool_transactions_max
            && self.window_first <= self.forwarded_max
            && self.window_min <= self.window_first
            && self.window_min > 0
            // A set travels in one message, a short id of 8 bytes an item.
            && 8 * self.set_items_max + 1_024 <= MESSAGE_BYTES_MAX
    }
}

const _: () = assert!(FULL.fits() && TINY.fits());
// The cell is signed part, then signature.
const _: () = assert!(CELL_SIGNED_BYTES + 64 == CELL_BYTES);
// Every kind's payload fits the largest.
const _: () = assert!(STAKE_PAYLOAD_BYTES <= PAYLOAD_BYTES_MAX && NAME_BYTES_MAX <= PAYLOAD_BYTES_MAX);
// A proof of an invalid transaction holds a certificate, a header, a path of six levels of sixteen hashes, and the
// transaction.
const _: () = {
    let certificate = 1 + SEATS_MAX / 8 + 48;
    let attest = 8 + 8 + 2 + 32 + certificate;
    let invalid = 1 + attest + 120 + 4 + 1 + 6 * 16 * 32 + TRANSACTION_BYTES_MAX;
    assert!(invalid <= ITEM_BYTES_MAX);
};
// What travels whole is longer on its way than the shortest that is rebuilt, and nothing that holds is too short.
const _: () = assert!(ITEM_BYTES_MIN == 1 + (8 + 8 + 2 + 32) + (1 + 48) && ITEM_BYTES_MIN <= 1 + CELL_BYTES);
const _: () = assert!(ITEM_WIRE_BYTES_MIN <= 2 + ITEM_BYTES_MIN);
// Two certificates that contradict each other fit an item.
const _: () = {
    let certificate = 1 + SEATS_MAX / 8 + 48;
    assert!(1 + 2 + 8 + 16 + 2 + 2 * (32 + 8 + certificate) <= ITEM_BYTES_MAX);
};
// A shard-block with its items travels in one message: a patch of two changes a transaction is smaller than its cells.
const _: () = assert!(2 * BLOCK_BYTES_MAX + (1 << 20) <= MESSAGE_BYTES_MAX);
// The bitmap of a certificate has its length in one byte.
const _: () = assert!(SEATS_MAX.is_multiple_of(64) && SEATS_MAX / 8 < 256 && DELEGATES_MAX <= SEATS_MAX);
