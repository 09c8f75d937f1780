//! Memory of frames that wait to be sent: one that goes to many peers is there once, and counts once in each share that
//! it waits in.

use super::budget::{Ledger, Share};
use std::collections::HashMap;
use std::sync::Arc;

/// What a frame takes in queues and tables, beside its bytes.
const FRAME_BYTES: usize = 96;

/// Frames that wait, by share and by where they are in memory, and in how many queues.
#[derive(Default)]
pub(super) struct Sending {
    frames: HashMap<(Share, usize), usize>,
}

/// Where the bytes of a frame are: as long as it is held no other frame is there.
fn place(frame: &Arc<[u8]>) -> usize {
    Arc::as_ptr(frame).cast::<u8>() as usize
}

impl Sending {
    /// A frame begins to wait for a peer of this share.
    pub(super) fn begin(&mut self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) {
        let queues = self.frames.entry((share, place(frame))).or_insert(0);
        *queues += 1;
        if *queues == 1 {
            ledger.hold(share, frame.len() + FRAME_BYTES);
        }
    }

    /// It waits no more for a peer of this share.
    pub(super) fn end(&mut self, share: Share, frame: &Arc<[u8]>, ledger: &Ledger) {
        let key = (share, place(frame));
        let Some(queues) = self.frames.get_mut(&key) else { panic!("a frame waits no more that has not waited") };
        *queues -= 1;
        if *queues == 0 {
            self.frames.remove(&key);
            ledger.let_go(share, frame.len() + FRAME_BYTES);
        }
    }

    /// What a frame would count for in this share, beyond what it counts already.
    pub(super) fn more(&self, share: Share, frame: &Arc<[u8]>) -> usize {
        if self.frames.contains_key(&(share, place(frame))) { 0 } else { frame.len() + FRAME_BYTES }
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
}
