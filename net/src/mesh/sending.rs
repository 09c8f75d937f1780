//! Memory of frames that wait to be sent: one that goes to many peers is there once, and counts once in each share that
//! it waits in. Long ones wait with the answers, whoever they are for, and take no room from votes.

use super::budget::{Ledger, Share};
use std::collections::HashMap;
use std::sync::Arc;

/// What a frame takes in queues and tables, beside its bytes.
const FRAME_BYTES: usize = 96;

/// What is longer waits with the answers.
const LONG_BYTES: usize = 1 << 20;

/// Frames that wait, by share and by where they are in memory, and in how many queues.
#[derive(Default)]
pub(super) struct Sending {
    frames: HashMap<(Share, usize), usize>,
    /// Bytes of those that wait with the answers.
    long: usize,
}

/// Where the bytes of a frame are: as long as it is held no other frame is there.
fn place(frame: &Arc<[u8]>) -> usize {
    Arc::as_ptr(frame).cast::<u8>() as usize
}

/// Where a frame to a peer of this share counts.
fn counts_in(share: Share, frame: &Arc<[u8]>) -> Share {
    if frame.len() > LONG_BYTES { Share::Answers } else { share }
}

impl Sending {
    /// A frame begins to wait for a peer of this share.
    pub(super) fn begin(&mut self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) {
        let share = counts_in(share, frame);
        let queues = self.frames.entry((share, place(frame))).or_insert(0);
        *queues += 1;
        if *queues == 1 {
            ledger.hold(share, frame.len() + FRAME_BYTES);
            self.long += if share == Share::Answers { frame.len() } else { 0 };
        }
    }

    /// It waits no more for a peer of this share.
    pub(super) fn end(&mut self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) {
        let share = counts_in(share, frame);
        let key = (share, place(frame));
        let Some(queues) = self.frames.get_mut(&key) else { panic!("a frame waits no more that has not waited") };
        *queues -= 1;
        if *queues == 0 {
            self.frames.remove(&key);
            ledger.let_go(share, frame.len() + FRAME_BYTES);
            self.long -= if share == Share::Answers { frame.len() } else { 0 };
        }
    }

    /// What a frame would count for in this share, beyond what it counts already.
    fn more(&self, share: Share, frame: &Arc<[u8]>) -> usize {
        let key = (counts_in(share, frame), place(frame));
        if self.frames.contains_key(&key) { 0 } else { frame.len() + FRAME_BYTES }
    }

    /// Whether there is room for a frame to a peer of this share. A long one has it if none waits, or those that do are half
    /// of what answers may be together with it: however much of those has come, whoever has asked is answered.
    pub(super) fn has_room(&self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) -> bool {
        let more = self.more(share, frame);
        match counts_in(share, frame) {
            Share::Answers => more == 0 || self.long == 0 || self.long + more <= ledger.ceiling(Share::Answers) / 2,
            share => ledger.may_send(share, more),
        }
    }

    /// Whether a frame would take half of what is for all peers of this share.
    pub(super) fn is_too_long(&self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) -> bool {
        let of = counts_in(share, frame);
        of != Share::Answers && self.more(share, frame) > ledger.ceiling(of) / 2
    }
}

#[cfg(test)]
mod tests {
    use super::super::budget::NODE_PARTS;
    use super::super::standing::Standing;
    use super::*;

    #[test]
    fn a_frame_to_many_counts_once_in_each_share_that_it_waits_in() {
        let (ledger, mut sending) = (Ledger::new(1 << 30, &NODE_PARTS), Sending::default());
        let (seated, named) = (Share::Of(Standing::Seated), Share::Of(Standing::Named));
        let block: Arc<[u8]> = vec![1; 1_000].into();
        (0..20).for_each(|_| sending.begin(seated, &block, &ledger));
        sending.begin(named, &block, &ledger);
        assert_eq!((ledger.held(seated), ledger.held(named)), (1_000 + FRAME_BYTES, 1_000 + FRAME_BYTES));
        let same: Arc<[u8]> = vec![1; 1_000].into();
        assert_eq!((sending.more(seated, &block.clone()), sending.more(seated, &same)), (0, 1_000 + FRAME_BYTES));
        sending.begin(seated, &same, &ledger);
        assert_eq!(ledger.held(seated), 2 * (1_000 + FRAME_BYTES));
        (0..20).for_each(|_| sending.end(seated, &block, &ledger));
        sending.end(seated, &same, &ledger);
        sending.end(named, &block, &ledger);
        assert!(ledger.total() == 0 && sending.frames.is_empty());
    }

    #[test]
    fn a_long_frame_waits_with_the_answers_and_takes_no_room_from_votes() {
        let (ledger, mut sending) = (Ledger::new(96 << 20, &NODE_PARTS), Sending::default());
        let (custodian, long): (_, Arc<[u8]>) = (Share::Of(Standing::Custodian), vec![1; 6_562_343].into());
        assert!(long.len() > ledger.ceiling(custodian) / 2, "more than any frame may take of its share");
        // Whatever is worked off among the answers meanwhile.
        ledger.begin_pending(Share::Answers, 2 * ledger.ceiling(Share::Answers));
        assert!(!sending.is_too_long(custodian, &long, &ledger) && sending.has_room(custodian, &long, &ledger));
        sending.begin(custodian, &long, &ledger);
        assert_eq!((ledger.held(custodian), ledger.held(Share::Answers)), (0, long.len() + FRAME_BYTES));
        let other: Arc<[u8]> = vec![1; 2 << 20].into();
        assert!(sending.has_room(custodian, &long, &ledger) && !sending.has_room(custodian, &other, &ledger));
        sending.end(custodian, &long, &ledger);
        assert_eq!((ledger.held(Share::Answers), sending.long), (0, 0));
        assert!(sending.has_room(custodian, &other, &ledger));
    }
}
