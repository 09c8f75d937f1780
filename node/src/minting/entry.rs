//! What the threads of a node hand to each other: to `prepare`, from it to `duty`, from `duty` to the writer.

use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::AccountIndex;
use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::chain::block::{CertifiedBlock, Final};
use dynemix_engine::chain::tables::System;
use dynemix_engine::consensus::signed_once::SignedOnce;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::item::{Item, Items};
use dynemix_net::mesh::{Body, PeerInfo, Target};
use std::sync::Arc;

/// What waits for the consensus thread.
pub enum Entry {
    /// A message of consensus. Its frame counts against its sender until it is heard.
    Message(PeerInfo, Box<Message>, Body),
    /// Verified transactions, frame by frame.
    Cells(Vec<Ready>),
    /// A record of what was signed is durable.
    Durable(u64),
    /// Own transactions are.
    Kept,
    /// A final block is.
    Stored(u64),
    /// A peer has come.
    Opened(PeerInfo),
    /// Addresses that a peer has told.
    Peers(Vec<Target>),
    /// Stop: at the end of the duty that is under way, or at once.
    Stop(bool),
}

/// What is to be prepared.
pub enum Raw {
    /// A frame of cells, of a message that needs verifying, or a question for a piece of a snapshot.
    Frame(PeerInfo, Body),
    /// Transactions of this node's own users, by the API.
    Own(Vec<Arc<Item>>),
    /// Items of a final shard-block that a custodian has to look at: fifty thousand signatures that nobody waits for.
    Bodies(PeerInfo, Box<Message>, Body),
    /// A peer wants a final block of a height that is not in memory any more.
    History(PeerInfo, u64),
    /// The node ends.
    Stop,
}

/// Transactions that are verified.
pub struct Ready {
    /// Who sent them; none by the API.
    pub from: Option<PeerInfo>,
    /// Another node tells them to the minters of this height: they go no further.
    pub told: Option<u64>,
    /// Ordinal on the connection, transaction, and its sender's account if it has one by now.
    pub good: Vec<(u64, Arc<Item>, Option<AccountIndex>)>,
    /// Ordinal, refusal, and the transaction if its form was right.
    pub refused: Vec<(u64, Refusal, Option<Arc<Item>>)>,
    /// The frame: its bytes count against its sender until consensus has taken them.
    pub body: Option<Body>,
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

/// A final block and what it led to.
pub struct FinalJob {
    /// The certificate that made it final.
    pub decided: Arc<Final>,
    /// Its shard-blocks.
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
