//! Messages that came before their time. Of each sender so many are kept, and so many bytes.

use crate::base::limits::EARLY_BYTES_MAX;
use crate::messages::message::Message;
use std::collections::{BTreeMap, VecDeque};

/// Messages of one sender at most.
const EARLY_MAX: usize = 96;

#[derive(Default)]
pub(super) struct Early {
    messages: VecDeque<(u32, Message)>,
    /// By sender: how many of those, and their bytes.
    of: BTreeMap<u32, (usize, usize)>,
}

impl Early {
    /// Keeps a message, if its sender has room left.
    pub(super) fn keep(&mut self, from: u32, message: Message) {
        let (count, bytes) = self.of.entry(from).or_insert((0, 0));
        let more = *bytes + message.body_bytes();
        if *count < EARLY_MAX && more <= EARLY_BYTES_MAX {
            (*count, *bytes) = (*count + 1, more);
            self.messages.push_back((from, message));
        }
    }

    /// Gives all back, in the order in which they came.
    pub(super) fn take(&mut self) -> VecDeque<(u32, Message)> {
        let counted: usize = self.of.values().map(|of| of.0).sum();
        assert_eq!(counted, self.messages.len(), "each early message is counted for its sender");
        self.of.clear();
        std::mem::take(&mut self.messages)
    }
}
