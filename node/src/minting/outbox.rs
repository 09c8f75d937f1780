//! Messages on their way out: encoded once, though a block goes to many, and each in the class that it belongs to.

use super::execution::{NodeExecution, StateDirectory};
use crate::peer::frames::{BODIES, PeerFrameKind, ROUNDS, class_of};
use dynemix_engine::messages::codec::encode;
use dynemix_engine::messages::message::{Message, ShardMessage};
use dynemix_engine::transaction::compact::Nobody;
use dynemix_engine::vote::signing::Signing;
use dynemix_net::mesh::MEMBER_FRAME_MAX;
use std::sync::Arc;

/// Frames of rounds that are longer travel with the bodies.
const LONG_BYTES: usize = 1 << 20;
// What is not long fits the class that it stays in.
const _: () = assert!(LONG_BYTES <= MEMBER_FRAME_MAX[ROUNDS as usize]);

/// The newest frame that may go to more than one peer.
#[derive(Default)]
pub struct Outbox {
    encoded: Option<(Encoded, Arc<[u8]>)>,
}

/// What the last encoded frame was of: a block goes to many.
#[derive(PartialEq, Eq, Clone, Copy)]
enum Encoded {
    Block([u8; 32]),
    Bodies([u8; 32]),
    Final([u8; 32], usize),
}

fn encoded_as(message: &Message) -> Option<Encoded> {
    match message {
        Message::Block(block) => Some(Encoded::Block(block.hash)),
        Message::Bodies(block, _) => Some(Encoded::Bodies(*block)),
        Message::Final(decided, blocks) => Some(Encoded::Final(decided.hash, blocks.len())),
        _ => None,
    }
}

/// What is long must not hold up its class, and would not fit it.
fn class_by_length(class: u8, bytes: usize) -> u8 {
    if bytes > LONG_BYTES && class == ROUNDS { BODIES } else { class }
}

impl Outbox {
    /// The frame of a message, and the class that it travels in.
    pub fn frame<S: Signing>(&mut self, message: &Message, execution: &NodeExecution<S>) -> (u8, Arc<[u8]>) {
        let class = class_of(message);
        let known = encoded_as(message);
        if let Some((of, frame)) = &self.encoded
            && known == Some(*of)
        {
            return (class_by_length(class, frame.len()), frame.clone());
        }
        // No longer than what it is made of: growing would copy it again and again.
        let mut frame = Vec::with_capacity(1 + message.body_bytes());
        frame.push(PeerFrameKind::Message as u8);
        match message {
            // Between minters of one height, who know the same accounts.
            Message::Block(_) | Message::Shard { message: ShardMessage::Items(_), .. } => {
                encode(message, &StateDirectory(execution.state()), &mut frame);
            }
            _ => encode(message, &Nobody, &mut frame),
        }
        let frame: Arc<[u8]> = frame.into();
        if let Some(known) = known {
            self.encoded = Some((known, frame.clone()));
        }
        (class_by_length(class, frame.len()), frame)
    }
}
