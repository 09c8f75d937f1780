//! What others ask of the past: final blocks that are not in memory any more, and pieces of snapshots.

use crate::keep::chain_store::read_final_block;
use crate::keep::published::{self, Allowance, Part};
use crate::peer::frames::{BODIES, OFFERS, PeerFrameKind, Piece, WantPiece};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::messages::codec::encode;
use dynemix_engine::messages::message::Message;
use dynemix_engine::transaction::compact::Nobody;
use dynemix_net::mesh::{MeshHandle, PeerInfo, To};
use dynemix_storage::Records;
use std::path::PathBuf;

/// What a question about snapshots counts for at least.
const ASKED_BYTES: usize = 16 << 10;

/// Reads from the disk for others, no more than it may hand out.
pub struct Serve {
    /// Its identity: what it hands out is of this chain.
    pub chain: Hash,
    /// Blocks that are kept.
    pub records: Records,
    /// The data directory, for snapshots.
    pub data: PathBuf,
    /// Where answers go.
    pub mesh: MeshHandle,
    /// Bytes of snapshots that may be handed out.
    pub allowance: Allowance,
}

impl Serve {
    /// Hands out a piece of a snapshot. What is not there, or beyond the allowance, is not answered.
    pub fn piece(&mut self, to: PeerInfo, want: WantPiece) {
        if !self.allowance.has(to.id) {
            return;
        }
        let part = Part::of_number(want.part);
        let frame = match want.height {
            OFFERS => Some(Piece::encode_offers(&published::offers(&self.data, &self.chain))),
            height => published::read_piece(&self.data, height, part, want.offset)
                .map(|(total, bytes)| Piece::encode(want, total, &bytes)),
        };
        // Whatever is asked for costs something, what is looked for in vain too.
        self.allowance.take(to.id, frame.as_ref().map_or(0, Vec::len).max(ASKED_BYTES));
        if let Some(frame) = frame {
            self.mesh.send(To::Peer(to.id), BODIES, frame.into());
        }
    }

    /// Sends the final block of a height, if the log has it.
    pub fn history(&self, to: PeerInfo, height: u64) {
        let Ok(bytes) = self.records.read(height) else { return };
        let Ok((decided, blocks)) = read_final_block(&bytes, height) else { return };
        let mut frame = vec![PeerFrameKind::Message as u8];
        encode(&Message::Final(decided, blocks), &Nobody, &mut frame);
        self.mesh.send(To::Peer(to.id), BODIES, frame.into());
    }
}
