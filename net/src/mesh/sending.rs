//! Memory of frames that wait to be sent: one that goes to many peers is there once, and counts once in each share that
//! it waits in. What is too long for the share of whoever has a duty waits with the answers, and takes no room from votes.

use super::budget::{Ledger, Share};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// What a frame takes in queues and tables, beside its bytes.
const FRAME_BYTES: usize = 96;
/// Long frames may take so long together before one who takes them makes room for the next.
const ASIDE: Duration = Duration::from_secs(10);

/// Frames that wait, by share and by where they are in memory, and in how many queues.
#[derive(Default)]
pub(super) struct Sending {
    frames: HashMap<(Share, usize), usize>,
    /// Since when some have waited with the answers without a pause.
    aside_since: Option<Instant>,
}

/// Where the bytes of a frame are: as long as it is held no other frame is there.
fn place(frame: &Arc<[u8]>) -> usize {
    Arc::as_ptr(frame).cast::<u8>() as usize
}

/// Whether a frame would take more than half of a share.
fn is_long(share: Share, frame: &Arc<[u8]>, ledger: &Ledger) -> bool {
    frame.len() + FRAME_BYTES > ledger.ceiling(share) / 2
}

/// Where a frame to a peer of this share counts.
fn counts_in(share: Share, frame: &Arc<[u8]>, ledger: &Ledger) -> Share {
    let has_duty = matches!(share, Share::Of(standing) if standing.has_duty());
    if has_duty && is_long(share, frame, ledger) { Share::Answers } else { share }
}

impl Sending {
    /// A frame begins to wait for a peer of this share.
    pub(super) fn begin(&mut self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) {
        let share = counts_in(share, frame, ledger);
        let queues = self.frames.entry((share, place(frame))).or_insert(0);
        *queues += 1;
        if *queues == 1 {
            ledger.hold(share, frame.len() + FRAME_BYTES);
            if share == Share::Answers {
                ledger.hold_long(frame.len());
                self.aside_since.get_or_insert_with(Instant::now);
            }
        }
    }

    /// It waits no more for a peer of this share.
    pub(super) fn end(&mut self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) {
        let share = counts_in(share, frame, ledger);
        let key = (share, place(frame));
        let Some(queues) = self.frames.get_mut(&key) else { panic!("a frame waits no more that has not waited") };
        *queues -= 1;
        if *queues == 0 {
            self.frames.remove(&key);
            ledger.let_go(share, frame.len() + FRAME_BYTES);
            if share == Share::Answers {
                ledger.let_long_go(frame.len());
                self.aside_since = self.aside_since.filter(|_| ledger.long() > 0);
            }
        }
    }

    /// What a frame would count for in this share, beyond what it counts already.
    fn more(&self, share: Share, frame: &Arc<[u8]>) -> usize {
        if self.frames.contains_key(&(share, place(frame))) { 0 } else { frame.len() + FRAME_BYTES }
    }

    /// Whether there is room for a frame to a peer of this share. A long one has it if no other waits, or those that do are
    /// half of what answers may be together with it.
    pub(super) fn has_room(&self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) -> bool {
        let of = counts_in(share, frame, ledger);
        let more = self.more(of, frame);
        match of {
            Share::Answers => more == 0 || ledger.long() == 0 || ledger.long() + more <= ledger.ceiling(of) / 2,
            share => ledger.may_send(share, more),
        }
    }

    /// Whether those that wait with the answers have had time enough: for another one somebody may have to go.
    pub(super) fn is_slow_aside(&self, now: Instant) -> bool {
        self.aside_since.is_some_and(|since| now.saturating_duration_since(since) > ASIDE)
    }

    /// Whether a frame to a peer of this share waits with the answers.
    pub(super) fn is_aside(share: Share, frame: &Arc<[u8]>, ledger: &Ledger) -> bool {
        counts_in(share, frame, ledger) == Share::Answers
    }

    /// Whether a frame would take half of what is for all peers of this share, and has no other place.
    pub(super) fn is_too_long(&self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) -> bool {
        counts_in(share, frame, ledger) == share && self.more(share, frame) > 0 && is_long(share, frame, ledger)
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
        let other: Arc<[u8]> = vec![1; 5 << 20].into();
        assert!(sending.has_room(custodian, &long, &ledger) && !sending.has_room(custodian, &other, &ledger));
        assert!(!sending.is_slow_aside(Instant::now()) && sending.is_slow_aside(Instant::now() + 2 * ASIDE));
        sending.end(custodian, &long, &ledger);
        assert_eq!((ledger.held(Share::Answers), ledger.long()), (0, 0));
        assert!(sending.aside_since.is_none());
        assert!(sending.has_room(custodian, &other, &ledger));
        // Who has a seat has room of its own for it, and whoever has no duty none.
        let (seated, named) = (Share::Of(Standing::Seated), Share::Of(Standing::Named));
        assert!(!Sending::is_aside(seated, &long, &ledger) && !sending.is_too_long(seated, &long, &ledger));
        assert!(!Sending::is_aside(named, &long, &ledger) && sending.is_too_long(named, &long, &ledger));
    }
}
