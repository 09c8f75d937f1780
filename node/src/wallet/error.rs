//! Why a wallet's question has no answer, or its payment no proved end.

use crate::face::light::LightError;
use crate::keep::sealed::SealedError;
use crate::setup::address::AddressError;
use crate::setup::genesis::GenesisFileError;
use dynemix_engine::base::refusal::Refusal;
use std::path::PathBuf;

/// Why a question has no answer.
#[derive(Debug, thiserror::Error)]
pub enum WalletError {
    /// No node answers.
    #[error("no node answers; tried {tried}: {why}")]
    Unreachable {
        /// The nodes that were tried.
        tried: String,
        /// The last error.
        why: String,
    },
    /// A node's own error.
    #[error("the node says: {0}")]
    Node(String),
    /// What it says is not what was certified.
    #[error("the node's answer is not what the chain has certified: {0}")]
    Lie(String),
    /// The chain of certificates.
    #[error("the node's answer is not what the chain has certified: {0}")]
    Light(#[from] LightError),
    /// Answers that are true, but of long ago.
    #[error("the node answers about older and older heights than it has itself shown; it is behind, or plays for time")]
    Stale,
    /// Answers that come, but too slowly to lead anywhere.
    #[error("the node shows {heights} heights in {seconds} s; that is too slow to follow the chain")]
    Slow {
        /// Heights that were followed.
        heights: u64,
        /// For so long.
        seconds: u64,
    },
    /// Something that comes in parts, and does not come to its end.
    #[error("the node has not shown {what} in {seconds} s; that is too slow to go on with it")]
    Drags {
        /// What was asked for.
        what: &'static str,
        /// For so long.
        seconds: u64,
    },
    /// The node does not have what the wallet would go on with.
    #[error(
        "the node says: {says}. This wallet has verified the chain up to height {at}: ask another node, or give --trust \
         HEIGHT:HASH of a block that this node has, from a source that you trust"
    )]
    Pruned {
        /// What it says.
        says: String,
        /// Newest height that is verified.
        at: u64,
    },
    /// The node shows less than is verified.
    #[error(
        "the node shows the chain up to height {height}, and this wallet has verified it up to {verified} before: nothing \
         is believed of it until it has come as far"
    )]
    Short {
        /// Newest height that it shows.
        height: u64,
        /// Newest height that was verified before.
        verified: u64,
    },
    /// The node has begun with another genesis file.
    #[error(
        "{node} is a node of another chain: it says that its chain is {its}, and your genesis file is of {own}. Give \
         --genesis FILE of the chain that you mean, or another --node"
    )]
    OtherChain {
        /// Where it was asked.
        node: String,
        /// Hash of the genesis that it says it has begun with.
        its: String,
        /// Hash of the own one.
        own: String,
    },
    /// A text that is to be a key.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// Two certified histories.
    #[error(
        "the chain that the node shows has a block of height {0} that cannot stand in one chain with what this wallet has \
         verified before, and both are certified: do not pay anyone, and ask people whom you trust"
    )]
    Conflict(u64),
    /// The genesis file, which is all that is trusted.
    #[error(transparent)]
    Genesis(#[from] GenesisFileError),
    /// What the wallet keeps of a chain.
    #[error(
        "{0}; without it the wallet cannot know what it has signed, and signs nothing. If it is damaged: look at \
         `dynemix wallet sent`, wait until the slots are over in which the newest of these could come into a block, \
         and only then set this file aside"
    )]
    Kept(#[from] SealedError),
    /// The newest verified block, of which nothing that was signed depends.
    #[error(
        "{0}: it holds the newest block that this wallet has verified, and nothing that it has signed. Give --trust \
         HEIGHT:HASH of a recent block, from a source that you trust: then that one file is set aside. Leave the files \
         beside it where they are: they hold what was signed"
    )]
    Anchor(SealedError),
    /// The directory of what is kept.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory that the system was asked for.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// Another command works with the same key.
    #[error("another command of this wallet is under way ({} is locked)", .0.display())]
    Busy(PathBuf),
    /// Nobody has this name.
    #[error("nobody is called '{0}'")]
    Name(String),
    /// The clock and the chain do not fit.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// Nothing became final for long.
    #[error("no block of height {height} was shown within {slots} slots")]
    Waited {
        /// The height that was waited for.
        height: u64,
        /// For so many slots.
        slots: u64,
    },
    /// It would be refused, so it was not signed.
    #[error("nothing was signed ({}): {why}", refusal.name())]
    Unsigned {
        /// What a node would say.
        refusal: Refusal,
        /// In plain words.
        why: String,
    },
    /// What was signed has not ended.
    #[error(transparent)]
    Unsettled(#[from] Unsettled),
    /// A node says that it is final, and nothing shows it.
    #[error("whether {0} is final is not known: no node that was asked proves it")]
    Unproved(String),
    /// Another order comes first, and this one was not signed.
    #[error("not paid, nothing was signed for this order: an earlier one of this account comes first. {0}")]
    Earlier(Box<WalletError>),
    /// The earlier one has ended since, which the user does not know yet.
    #[error("Transaction {id} ({what}) is final since height {height}, which is proved: now run this command again")]
    WasFinal {
        /// Id of the transaction, in hexadecimal.
        id: String,
        /// What it does, for people.
        what: String,
        /// Height of its block.
        height: u64,
    },
    /// It can never become final.
    #[error(
        "not paid: transaction {id} has come into no block and cannot any more: slot {expires_slot} is over, and its \
         sequence {sequence} is free, which is proved of height {height}"
    )]
    Expired {
        /// Id of the transaction, in hexadecimal.
        id: String,
        /// The last slot in which it could come into a block.
        expires_slot: u64,
        /// Number of the transaction among those of its sender.
        sequence: u64,
        /// Height of the state that proves it.
        height: u64,
    },
    /// It could never become final.
    #[error(
        "not paid: transaction {id} can never be final: its account had used sequence {sequence} when it was signed, which \
         is proved of height {height}; whoever used the sequence has this key as well"
    )]
    Stillborn {
        /// Id of the transaction, in hexadecimal.
        id: String,
        /// Number of the transaction among those of its sender.
        sequence: u64,
        /// Height of the state that proves it.
        height: u64,
    },
    /// Another transaction of this account took its place.
    #[error(
        "not paid: transaction {id} will never be final: at height {height} its account has used the sequence for {by}, \
         which is proved. Whoever signed that one has this key as well"
    )]
    Replaced {
        /// Id of the transaction, in hexadecimal.
        id: String,
        /// What is final in its place.
        by: String,
        /// Height of that block.
        height: u64,
    },
}

/// What was signed and may still become final, or has perhaps.
#[derive(Debug, thiserror::Error)]
pub enum Unsettled {
    /// It may still become final.
    #[error(
        "whether it is paid is not known: transaction {id} ({what}) was signed and may still become final, until slot \
         {expires_slot} is over; it is kept. `{ask}` hands in the same one again and says what becomes of it; nothing \
         else is signed before"
    )]
    Open {
        /// The command that asks.
        ask: String,
        /// Id of the transaction, in hexadecimal.
        id: String,
        /// What it does, for people.
        what: String,
        /// The last slot in which it can come into a block.
        expires_slot: u64,
    },
    /// Its sequence is used, and no node has shown by what.
    #[error(
        "whether it is paid is not known: the account has used the sequence of transaction {id} ({what}), which is proved \
         of height {height}; that it was this one, no node that was asked can prove: it is kept. Try `{ask}` with a \
         --node that mints, or look at the balance; `{ask} --forget` lets it go"
    )]
    Unproved {
        /// The command that asks.
        ask: String,
        /// Id of the transaction, in hexadecimal.
        id: String,
        /// What it does, for people.
        what: String,
        /// Height of the state that proves it.
        height: u64,
    },
    /// Something went wrong on this computer before its end was proved.
    #[error(
        "transaction {id} ({what}) was signed, and whether it is paid is not known: {why}. It is kept; `{ask}` hands in \
         the same one again and says what becomes of it"
    )]
    Interrupted {
        /// The command that asks.
        ask: String,
        /// Id of the transaction, in hexadecimal.
        id: String,
        /// What it does, for people.
        what: String,
        /// What went wrong.
        why: String,
    },
}

/// Why the own clock and the chain do not fit each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TimeError {
    /// A block from the future.
    #[error(
        "the newest certified block is of slot {tip_slot}, and this computer's clock shows slot {now_slot}: the clock \
         is behind"
    )]
    ClockBehind {
        /// Slot of the newest verified block.
        tip_slot: u64,
        /// Slot by the own clock.
        now_slot: u64,
    },
    /// Nothing new for long.
    #[error(
        "the newest certified block that the node shows is of slot {tip_slot}, and this computer's clock shows slot \
         {now_slot}: the chain stands, the node is behind, or the clock is ahead. Nothing is signed by that"
    )]
    Old {
        /// Slot of the newest verified block.
        tip_slot: u64,
        /// Slot by the own clock.
        now_slot: u64,
    },
    /// A height that cannot be.
    #[error(
        "the node speaks of height {height}, and only {now_slot} slots have passed since the chain began, by this \
         computer's clock"
    )]
    Height {
        /// What it speaks of.
        height: u64,
        /// Slot by the own clock.
        now_slot: u64,
    },
}

impl WalletError {
    /// There is nobody to ask.
    pub(super) fn no_node() -> WalletError {
        let why = "no node is configured; use --node or --devnet".to_owned();
        WalletError::Unreachable { tried: "none".into(), why }
    }

    /// Of two nodes' errors the one that says more: a lie, else the later one.
    pub(super) fn or_worse(self, error: WalletError) -> WalletError {
        match (self, error) {
            (worst, error) if worst.is_lie() && !error.is_lie() => worst,
            // Whoever answered says more than who did not.
            (worst @ WalletError::Node(_), WalletError::Unreachable { .. }) => worst,
            (_, error) => error,
        }
    }

    /// Whether it says what became of what was signed, or that nobody knows yet.
    pub fn says_the_end(&self) -> bool {
        matches!(
            self,
            WalletError::Unsettled(_)
                | WalletError::Expired { .. }
                | WalletError::Stillborn { .. }
                | WalletError::Replaced { .. }
        )
    }

    /// Whether it speaks of one node: another one may answer better.
    pub fn is_of_node(&self) -> bool {
        matches!(
            self,
            WalletError::Unreachable { .. }
                | WalletError::Node(_)
                | WalletError::Lie(_)
                | WalletError::Light(_)
                | WalletError::Stale
                | WalletError::Slow { .. }
                | WalletError::Drags { .. }
                | WalletError::OtherChain { .. }
                | WalletError::Short { .. }
                | WalletError::Pruned { .. }
                | WalletError::Waited { .. }
                | WalletError::Time(TimeError::Height { .. } | TimeError::Old { .. })
        )
    }

    /// Whether a node was caught: what it said is not so.
    pub fn is_lie(&self) -> bool {
        matches!(
            self,
            WalletError::Lie(_)
                | WalletError::Light(_)
                | WalletError::Conflict(_)
                | WalletError::Time(TimeError::Height { .. })
        )
    }
}
