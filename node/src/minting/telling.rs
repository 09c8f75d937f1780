//! Frames by which a node tells minters of its own users' transactions: of a shard to all of its minters, as far as each
//! takes them, or handed in to one of them.

use super::pace::ShardPace;
use crate::peer::frames::{CELLS, CELLS_MAX, Frame, cells_frame, put_cell};
use dynemix_engine::base::hash::Hash;
use dynemix_engine::base::ids::Key;
use dynemix_engine::base::keyed_hash::{HashSeed, place};
use dynemix_engine::base::limits::TRANSACTION_BYTES_MAX;
use dynemix_engine::committee::members::Committee;
use dynemix_engine::transaction::cell::Cell;
use dynemix_engine::verify::Hint;
use dynemix_net::mesh::{Standing, To};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Bytes of a frame of cells at most: to whom it tells them a node without a seat is only a name, and one without a name
/// a guest.
const TOLD_BYTES_MAX: usize = Standing::Guest.bounds().frame_max[CELLS as usize];
const _: () = assert!(TOLD_BYTES_MAX <= Standing::Named.bounds().frame_max[CELLS as usize]);
/// One of a shard's minters, another one for each sender and height: whoever hands in what it may not tell all.
pub(super) fn one_of(committee: &Committee, shard: usize, seed: &Hash, sender: &Key) -> u32 {
    let seats = &committee.shards[shard];
    let seat = seats[place(HashSeed::from_key(seed).hash(sender), seats.len())];
    committee.members[usize::from(seat)].candidate
}

/// What is told of a transaction.
pub(super) struct ToldOf<'a> {
    pub(super) cell: &'a Cell,
    pub(super) payload: &'a [u8],
    pub(super) hint: Option<&'a Hint>,
}

/// A frame of cells, and how many of those for its shard and height are told with it.
struct Telling {
    frame: Vec<u8>,
    count: usize,
    told: usize,
}

/// Frames of cells of one shard, or for one minter, as long as whoever gets them takes of anybody.
#[derive(Default)]
pub(super) struct Frames {
    frames: Vec<Telling>,
    pub(super) count: usize,
    /// How many were told before, of the same height.
    before: usize,
    /// Somebody else is told: this node alone needs no frames.
    others: bool,
}

impl Frames {
    /// For a shard that was told so many before; none are written where these minters are `me` alone.
    pub(super) fn of(before: usize, minters: &[u32], me: Option<u32>) -> Frames {
        Frames { before, others: minters.iter().any(|&minter| Some(minter) != me), ..Frames::default() }
    }

    /// What minters of the shard other than `me` are sent: each what it takes.
    fn of_others(self, minters: &[u32], pace: &ShardPace, me: Option<u32>) -> Vec<Frame> {
        let mut out = Vec::new();
        // Frame by frame: one that goes to many at once is counted once on its way.
        for Telling { frame, told, .. } in self.frames {
            let frame: Arc<[u8]> = frame.into();
            let takes = |minter: &u32| Some(*minter) != me && told <= *pace.less.get(minter).unwrap_or(&pace.pace);
            let takers = minters.iter().copied().filter(takes);
            out.extend(takers.map(|minter| (To::Name(minter), CELLS, frame.clone())));
        }
        out
    }

    /// Puts a cell into the last frame, or where that is full, or a minter takes no more, into another one.
    pub(super) fn put(&mut self, told: Option<u64>, told_of: &ToldOf<'_>, pace: Option<&ShardPace>) {
        self.count += 1;
        if !self.others {
            return;
        }
        let is_full = |last: &Telling| {
            last.count == CELLS_MAX / 2
                || last.frame.len() + 2 + TRANSACTION_BYTES_MAX + size_of::<Hint>() > TOLD_BYTES_MAX
                || pace.is_some_and(|pace| pace.less.values().any(|&room| room == last.told))
        };
        if self.frames.last().is_none_or(is_full) {
            self.frames.push(Telling { frame: cells_frame(told, 0), count: 0, told: self.before + self.count - 1 });
        }
        let Telling { frame, count, told } = self.frames.last_mut().expect("begun above");
        (*count, *told) = (*count + 1, *told + 1);
        put_cell(frame, bytemuck::bytes_of(told_of.cell), told_of.payload, told_of.hint);
        assert!(frame.len() <= TOLD_BYTES_MAX, "a frame of {} bytes, {TOLD_BYTES_MAX} are taken", frame.len());
    }
}

/// The minters of each shard.
pub(super) fn minters_of(committee: &Committee) -> Vec<Vec<u32>> {
    let of = |seats: &Vec<u16>| seats.iter().map(|&seat| committee.members[usize::from(seat)].candidate).collect();
    committee.shards.iter().map(of).collect()
}

/// Puts a cell among what this minter is handed; false if there is no room for it.
pub(super) fn hand_in(handed: &mut BTreeMap<u32, Frames>, minter: u32, cell: &Cell, payload: &[u8]) -> bool {
    let frames = handed.entry(minter).or_insert_with(|| Frames { others: true, ..Frames::default() });
    let may = frames.count < CELLS_MAX / 2;
    if may {
        frames.put(None, &ToldOf { cell, payload, hint: None }, None);
    }
    may
}

/// What is handed in to single minters, and what those of each shard are told.
pub(super) fn frames_out(
    handed: BTreeMap<u32, Frames>,
    minters: Vec<Vec<u32>>,
    paces: &[ShardPace],
    frames: Vec<Frames>,
    me: Option<u32>,
) -> Vec<Frame> {
    let handed = handed.into_iter().flat_map(|(minter, handed)| {
        handed.frames.into_iter().map(move |telling| (To::Name(minter), CELLS, telling.frame.into()))
    });
    let told = minters.into_iter().zip(paces).zip(frames);
    handed.chain(told.flat_map(|((minters, pace), frames)| frames.of_others(&minters, pace, me))).collect()
}
