//! One budget of memory over all connections, in shares that no share can take from another.
//!
//! ```text
//!   held      what the mesh holds: connections, unfinished frames, raw bytes, what waits to be sent
//!   pending   what the caller holds: finished frames that are not worked off, and what they became on decoding
//!   held + pending <= the share's ceiling; ceilings and what is left for the mesh itself are the budget
//!   beyond: one long frame alone, coming or going, and an eighth for what goes where what has come fills a share
//! ```
//!
//! Three quarters of a share are for what comes, and an eighth for what that becomes, so that what goes has room when nothing
//! more is read. Whoever is of a share that is full is not read. What the mesh holds itself is made less by ending
//! connections: first of who holds more than its part and has moved least for it.

use super::standing::Standing;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where memory is charged: a share for each standing, and two beside.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Share {
    /// Of who has this standing.
    Of(Standing),
    /// Connections whose hello is not admitted.
    Handshakes,
    /// Long frames that we have asked for, whoever sends them.
    Answers,
}

/// How many shares there are.
pub const SHARES: usize = 10;
/// Parts that a budget is divided into.
const PARTS: usize = 64;

/// Parts of the budget by share. What is left of the 64 is in none: commands on their way, the step by which a buffer
/// grows before it is counted, and what an allocator holds beyond what it has given, an eighth of it.
pub type Parts = [usize; SHARES];

/// The parts of a node that mints.
pub const NODE_PARTS: Parts = [3, 2, 6, 3, 2, 5, 5, 16, 2, 8];
/// The parts of a program that only calls.
pub const CALLER_PARTS: Parts = [0, 0, 0, 0, 34, 0, 0, 0, 2, 16];
/// Parts that commands on their way may be.
const COMMAND_PARTS: usize = 9;

const fn sum(parts: &Parts) -> usize {
    let (mut sum, mut at) = (0, 0);
    while at < SHARES {
        sum += parts[at];
        at += 1;
    }
    sum
}

const _: () = assert!(sum(&NODE_PARTS) == 52 && sum(&CALLER_PARTS) == 52 && 52 + COMMAND_PARTS < PARTS);

impl Share {
    /// All of them, by their place in [`Parts`].
    pub const ALL: [Share; SHARES] = [
        Share::Of(Standing::Guest),
        Share::Of(Standing::Joining),
        Share::Of(Standing::Named),
        Share::Of(Standing::Forwarder),
        Share::Of(Standing::Called),
        Share::Of(Standing::Custodian),
        Share::Of(Standing::Drawn),
        Share::Of(Standing::Seated),
        Share::Handshakes,
        Share::Answers,
    ];

    pub(super) fn place(self) -> usize {
        match self {
            Share::Of(standing) => standing as usize,
            Share::Handshakes => 8,
            Share::Answers => 9,
        }
    }

    /// What it is called in metrics and logs.
    pub fn word(self) -> &'static str {
        match self {
            Share::Of(standing) => standing.word(),
            Share::Handshakes => "handshakes",
            Share::Answers => "answers",
        }
    }
}

/// What is held now, by share. Only the mesh's thread changes what is held; what is pending, whoever has a frame.
#[derive(Debug)]
pub struct Ledger {
    ceilings: [usize; SHARES],
    ceiling_of_commands: usize,
    held: [AtomicUsize; SHARES],
    pending: [AtomicUsize; SHARES],
    most: AtomicUsize,
    /// Of what is held among the answers: long frames that wait to be sent.
    long: AtomicUsize,
}

impl Ledger {
    /// Nothing is held yet, of so many bytes.
    pub fn new(budget_bytes: usize, parts: &Parts) -> Ledger {
        assert!(sum(parts) + COMMAND_PARTS <= PARTS, "shares are more than the whole");
        Ledger {
            ceilings: parts.map(|part| budget_bytes / PARTS * part),
            ceiling_of_commands: budget_bytes / PARTS * COMMAND_PARTS,
            held: Default::default(),
            pending: Default::default(),
            most: AtomicUsize::new(0),
            long: AtomicUsize::new(0),
        }
    }

    /// Bytes that commands may be until they are obeyed.
    pub(super) fn ceiling_of_commands(&self) -> usize {
        self.ceiling_of_commands
    }

    /// Bytes that a share may be.
    pub fn ceiling(&self, share: Share) -> usize {
        self.ceilings[share.place()]
    }

    /// Bytes of a share that the mesh holds.
    pub fn held(&self, share: Share) -> usize {
        self.held[share.place()].load(Ordering::Relaxed)
    }

    /// Bytes of a share that the caller holds.
    pub fn pending(&self, share: Share) -> usize {
        self.pending[share.place()].load(Ordering::Relaxed)
    }

    /// Bytes of a share in all.
    pub fn used(&self, share: Share) -> usize {
        self.held(share) + self.pending(share)
    }

    /// Bytes of all shares.
    pub fn total(&self) -> usize {
        Share::ALL.iter().map(|&share| self.used(share)).sum()
    }

    /// Bytes of finished frames of all shares that nobody has worked off.
    pub fn pending_total(&self) -> usize {
        Share::ALL.iter().map(|&share| self.pending(share)).sum()
    }

    /// The most that all shares together have been, as far as it was looked at.
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    pub(super) fn hold_long(&self, bytes: usize) {
        self.long.fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn let_long_go(&self, bytes: usize) {
        let before = self.long.fetch_sub(bytes, Ordering::Relaxed);
        assert!(bytes <= before, "more of long frames is let go than is held");
    }

    /// Bytes of long frames that wait to be sent: those take no room from answers that we have asked for.
    pub(super) fn long(&self) -> usize {
        self.long.load(Ordering::Relaxed)
    }

    pub(super) fn look(&self) {
        self.most.fetch_max(self.total(), Ordering::Relaxed);
    }

    /// Whether there is room for so much more.
    pub(super) fn has_room(&self, share: Share, bytes: usize) -> bool {
        self.used(share).saturating_add(bytes) <= self.ceiling(share)
    }

    /// Whether there is room to send so much more: a part of a share is for that, whatever has come.
    pub(super) fn may_send(&self, share: Share, bytes: usize) -> bool {
        let of_sends = self.ceiling(share) - self.ceiling_of_decoded(share);
        self.has_room(share, bytes) || self.held(share).saturating_add(bytes) <= of_sends
    }

    /// Whether a frame of this weight may become so much more. One that is alone in its share may, whatever it becomes:
    /// else a long one never could.
    pub(super) fn may_become(&self, share: Share, weight: usize, bytes: usize) -> bool {
        self.used(share).saturating_add(bytes) <= self.ceiling_of_decoded(share) || self.pending(share) == weight
    }

    fn ceiling_of_decoded(&self, share: Share) -> usize {
        self.ceiling(share) / 8 * 7
    }

    /// Bytes that a share may be when more of it is read.
    pub(super) fn ceiling_of_reads(&self, share: Share) -> usize {
        self.ceiling(share) / 4 * 3
    }

    /// Whether there is room to read so much more.
    pub(super) fn may_read(&self, share: Share, bytes: usize) -> bool {
        self.used(share).saturating_add(bytes) <= self.ceiling_of_reads(share)
    }

    /// Whether what the mesh itself holds leaves no room to read so much more: then only ending connections makes some,
    /// and waiting for the caller does not.
    pub(super) fn is_stuck(&self, share: Share, bytes: usize) -> bool {
        self.held(share).saturating_add(bytes) > self.ceiling_of_reads(share)
    }

    pub(super) fn hold(&self, share: Share, bytes: usize) {
        self.held[share.place()].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn let_go(&self, share: Share, bytes: usize) {
        let before = self.held[share.place()].fetch_sub(bytes, Ordering::Relaxed);
        assert!(bytes <= before, "more is let go of a share than is held of it");
    }

    pub(super) fn begin_pending(&self, share: Share, bytes: usize) {
        self.pending[share.place()].fetch_add(bytes, Ordering::Relaxed);
    }

    pub(super) fn end_pending(&self, share: Share, bytes: usize) {
        let before = self.pending[share.place()].fetch_sub(bytes, Ordering::Relaxed);
        assert!(bytes <= before, "more is worked off of a share than was charged to it");
    }
}

/// What one connection holds of its share, and what it has moved of late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Holding {
    pub(super) id: u64,
    /// Bytes that come free when it ends.
    pub(super) held: usize,
    /// Bytes that it has sent or taken in the last ten to twenty seconds.
    pub(super) moved: usize,
}

/// Who holds no more than this is never ended for memory's sake while it moves or others hold more.
const LITTLE_BYTES: usize = 64 << 10;
/// Whoever has moved less than this part of what it holds is stuck.
const STUCK: usize = 8;

/// Whose end makes room in a share of which so much may be read: the one that has moved least for what it holds, of those
/// that are stuck or hold more than an equal part of it. So who brings something long and goes on bringing it stays, and
/// who fills memory and is silent goes; who holds a little, or its part while it moves, stays. None if there is nobody
/// like that.
pub(super) fn least_useful(holdings: &[Holding], ceiling_of_reads: usize) -> Option<u64> {
    let part = ceiling_of_reads / holdings.len().max(1);
    let may_go = |holding: &&Holding| {
        holding.held > part || (holding.held > LITTLE_BYTES && holding.moved < holding.held / STUCK)
    };
    let worse = |a: &Holding, b: &Holding| {
        let (of_a, of_b) = (a.held as u128 * (b.moved as u128 + 1), b.held as u128 * (a.moved as u128 + 1));
        of_a.cmp(&of_b).then(a.held.cmp(&b.held)).then(a.id.cmp(&b.id))
    };
    holdings.iter().filter(may_go).max_by(|a, b| worse(a, b)).map(|holding| holding.id)
}

/// Who holds most: it goes when a share is stuck and everybody has kept to its part. Else all of them together could
/// keep the share as it is for as long as they like, and whoever brings a few bytes would be heard no more.
pub(super) fn largest(holdings: &[Holding]) -> Option<u64> {
    holdings.iter().max_by_key(|holding| (holding.held, holding.id)).map(|holding| holding.id)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn shares_have_their_places_and_are_the_budget_together() {
        let ledger = Ledger::new(1 << 30, &NODE_PARTS);
        for (place, share) in Share::ALL.into_iter().enumerate() {
            assert_eq!(share.place(), place);
            assert!(ledger.ceiling(share) >= 32 << 20);
        }
        let sum: usize = Share::ALL.iter().map(|&share| ledger.ceiling(share)).sum();
        assert_eq!(sum, (1 << 30) / 64 * 52);
        ledger.hold(Share::Answers, 7);
        ledger.begin_pending(Share::Answers, 5);
        let room = ledger.ceiling(Share::Answers) - 12;
        assert!(ledger.has_room(Share::Answers, room) && !ledger.has_room(Share::Answers, room + 1));
        assert!(!ledger.may_become(Share::Answers, 4, room + 1) && ledger.may_become(Share::Answers, 5, room + 1));
        let room = ledger.ceiling(Share::Answers) / 8 * 7 - 12;
        assert!(ledger.may_become(Share::Answers, 4, room) && !ledger.may_become(Share::Answers, 4, room + 1));
        let room = ledger.ceiling(Share::Answers) / 4 * 3 - 12;
        assert!(ledger.may_read(Share::Answers, room) && !ledger.may_read(Share::Answers, room + 1));
        assert!(!ledger.is_stuck(Share::Answers, room + 5) && ledger.is_stuck(Share::Answers, room + 6));
        ledger.let_go(Share::Answers, 7);
        ledger.end_pending(Share::Answers, 5);
        ledger.look();
        assert_eq!((ledger.total(), ledger.most()), (0, 0));
    }

    #[test]
    fn what_comes_leaves_room_for_what_goes() {
        let (ledger, share) = (Ledger::new(96 << 20, &NODE_PARTS), Share::Of(Standing::Seated));
        // A long answer that was alone, and whatever it became.
        ledger.begin_pending(share, 2 * ledger.ceiling(share));
        assert!(!ledger.has_room(share, 300) && ledger.may_send(share, 300), "a vote is sent");
        let kept = ledger.ceiling(share) / 8;
        assert!(ledger.may_send(share, kept) && !ledger.may_send(share, kept + 1));
        ledger.hold(share, kept);
        assert!(!ledger.may_send(share, 1));
    }

    #[test]
    fn who_is_silent_goes_before_who_brings_something_long() {
        let honest = Holding { id: 1, held: 16 << 20, moved: 12 << 20 };
        let mut all = vec![honest];
        all.extend((2..30).map(|id| Holding { id, held: 3 << 20, moved: 64 << 10 }));
        while all.iter().map(|holding| holding.held).sum::<usize>() > 20 << 20 {
            let gone = least_useful(&all, 20 << 20).unwrap();
            assert_ne!(gone, 1, "{} are left", all.len());
            all.retain(|holding| holding.id != gone);
        }
    }

    #[test]
    fn of_many_that_keep_to_their_part_the_largest_goes() {
        let mut all: Vec<Holding> = (1..64).map(|id| Holding { id, held: 140 << 10, moved: 140 << 10 }).collect();
        all.push(Holding { id: 64, held: 20 << 10, moved: 100 });
        assert_eq!((least_useful(&all, 9 << 20), largest(&all)), (None, Some(63)));
        assert_eq!((least_useful(&all, 8 << 20), largest(&[])), (Some(63), None));
    }

    proptest! {
        #[test]
        fn a_share_that_is_too_full_has_someone_to_go_and_nobody_goes_for_its_part(
            of in proptest::collection::vec((0usize..1 << 20, 0usize..1 << 24), 1..40), ceiling in 0usize..1 << 24,
        ) {
            let all: Vec<Holding> =
                of.iter().zip(0..).map(|(&(held, moved), id)| Holding { id, held, moved }).collect();
            let gone = least_useful(&all, ceiling);
            if all.iter().map(|holding| holding.held).sum::<usize>() > ceiling {
                prop_assert!(gone.is_some());
            }
            if let Some(gone) = gone {
                let Holding { held, moved, .. } = all[gone as usize];
                prop_assert!(held > ceiling / all.len() || (held > LITTLE_BYTES && moved < held / STUCK));
            }
        }
    }
}
