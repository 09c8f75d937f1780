//! What the threads of a node hand to each other: to those that verify, from them to `duty`, from `duty` to those that
//! make things durable and to whoever answers questions.

use super::places::Taken;
use super::prospect::Prospect;
use crate::intake::shares::{Holder, User};
use crate::keep::accepted::Accepted;
use crate::peer::frames::{RoomWord, WantPiece};
use crate::peer::inclusion::Inclusion;
use crate::peer::paths::{Place, WantPaths};
use crate::setup::names;
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::chain::tables::System;
use dynemix_engine::consensus::finals::KeptFinal;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_engine::verify::Hint;
use dynemix_net::mesh::{Body, PeerInfo, Target};
use std::sync::Arc;

/// What waits for the consensus thread.
pub enum Entry {
    /// A message of consensus: one that needs verifying was verified. Its frame counts against its sender until it is
    /// heard.
    Message(PeerInfo, Box<Message>, Body),
    /// A record that holds, and who brought it.
    Record(PeerInfo, Item),
    /// Verified transactions, frame by frame.
    Cells(Vec<Ready>),
    /// A record of what was signed is durable.
    Durable(u64),
    /// Own transactions are.
    Kept,
    /// Of own users' transactions what so many jobs were about is.
    Accepted(usize),
    /// A final block is.
    Stored(u64),
    /// A peer has come.
    Opened(PeerInfo),
    /// Peers that the configuration names, and where others reach this node, as names of hosts mean it now.
    Named(names::Found),
    /// Addresses that a peer has told.
    Peers(Vec<Target>),
    /// How many transactions a minter takes of this node.
    Room(AccountIndex, RoomWord),
    /// Somebody has answered which transactions stand in a shard-block.
    Paths(PeerInfo, Place, Vec<Inclusion>, Body),
    /// The same of all ids of it: the frame.
    Ids(PeerInfo, Body),
    /// Stop: at the end of the duty that is under way, or at once.
    Stop(bool),
}

/// What is to be prepared.
pub enum Raw {
    /// A frame of cells, or of a message that needs verifying.
    Frame(PeerInfo, Body),
    /// Transactions of one of this node's own users, by this connection to the API.
    Own(Holder, u64, Vec<Item>),
    /// Items of a final shard-block that a custodian has to look at: fifty thousand signatures that nobody waits for.
    Bodies(PeerInfo, Box<Message>, Body),
    /// A new height: what came before its time is looked at.
    Height,
    /// The node ends.
    Stop,
}

/// What others ask of the past.
pub enum Question {
    /// A piece of a snapshot.
    Piece(PeerInfo, WantPiece, Body),
    /// The final block of a height, and the block if it is in memory.
    Final(PeerInfo, u64, Option<KeptFinal>),
    /// Proofs that transactions of its users stand in a shard-block.
    Paths(PeerInfo, WantPaths),
    /// The node ends.
    Stop,
}

/// A transaction that may come into a block: ordinal on its connection, transaction, and what it is good for.
pub type Found = (u64, Item, Prospect);

/// Transactions that are verified.
pub struct Ready {
    /// Who sent them; none by the API.
    pub from: Option<PeerInfo>,
    /// By which connection to the API they came, if they did.
    pub client: u64,
    /// Whose they are, of who hands them in.
    pub user: User,
    /// Another node tells them to the minters of this height: they go no further.
    pub told: Option<u64>,
    /// Those that are good.
    pub good: Vec<Found>,
    /// For each of them what is told to whoever verifies it as well; empty if nothing is.
    pub hints: Vec<Option<Hint>>,
    /// Ordinal, refusal, and the transaction if its form was right.
    pub refused: Vec<(u64, Refusal, Option<Item>)>,
    /// The frame: its bytes count against its sender until consensus has taken them.
    pub body: Option<Body>,
    /// Places for those of own users whose turn has come.
    pub places: Taken,
}

/// What is to be made durable.
pub enum Job {
    /// What was signed; then tell by the ticket.
    Persist(u64, Box<SignedOnce>),
    /// The transactions of a shard-block of our own; then tell.
    Keep(Hash, u64, Items),
    /// A final block.
    Final(Box<FinalJob>),
}

/// What is to be kept of own users' transactions.
pub enum Promise {
    /// These are accepted once they are durable: then tell.
    Accept(Vec<Accepted>),
    /// These are all that have not ended.
    Rewrite(Vec<Accepted>),
}

/// A final block and what it led to.
pub struct FinalJob {
    /// The certificate that made it final.
    pub decided: Arc<Final>,
    /// Its shard-blocks, those that are missing left out.
    pub blocks: Vec<Arc<CertifiedBlock>>,
    /// Who has certified it, with keys, in wire form.
    pub committee: Vec<u8>,
    /// The quilt's wire form.
    pub quilt: Vec<u8>,
    /// Root of the state after it.
    pub root: Hash,
    /// The system after it.
    pub system: Arc<System>,
}

/// What an entry costs in a queue of the node's own, beside its bytes.
const ENTRY_COST: usize = 512;
/// What a transaction costs in one.
pub const TRANSACTION_COST: usize = 512;

/// What a frame costs while it waits: its bytes, and more than once when it was decoded.
pub fn cost_of_frame(body: &[u8]) -> usize {
    body.len() + ENTRY_COST
}

/// What transactions cost while they wait.
pub const fn cost_of_transactions(count: usize) -> usize {
    count * TRANSACTION_COST + ENTRY_COST
}
