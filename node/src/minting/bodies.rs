//! What custodians look at: transactions of shard-blocks, tens of thousands at once, that nobody waits for. A thread of
//! its own, behind all others: it holds up no user's transaction.

use super::checks::Checks;
use super::entry::Raw;
use super::inbox::Inbox;
use crate::intake::price::Failure;
use dynemix_engine::messages::message::Message;
use dynemix_net::mesh::{Body, PeerInfo};
use std::time::Duration;

/// Transactions of a block that is not final that are verified before it is looked whether they hold.
const BODIES_AT_ONCE: usize = 1_024;

/// What the thread works with.
pub struct Bodies {
    /// What it verifies with.
    pub checks: Checks,
    /// Of the thread: users' transactions come before it.
    pub niceness: i32,
}

impl Bodies {
    /// Runs until told to stop.
    pub fn run(mut self, input: &Inbox<Raw>) {
        let _ = rustix::process::setpriority_process(Some(rustix::thread::gettid()), self.niceness);
        loop {
            match input.take(Duration::from_millis(200)) {
                Some(Raw::Stop) => return,
                Some(raw) => self.take(raw),
                None => {}
            }
        }
    }

    /// Takes what has come.
    pub fn take(&mut self, raw: Raw) {
        match raw {
            // What somebody has sent before it was thrown out.
            Raw::Bodies(from, ..) if self.checks.gate.is_out(from) => {}
            Raw::Bodies(from, message, body) => self.bodies(from, message, body),
            Raw::Frame(..) | Raw::Own(..) | Raw::Height | Raw::Stop => {}
        }
    }

    /// Transactions of a shard-block, for a custodian: those that were not asked for, or are of another block, are not
    /// verified.
    fn bodies(&mut self, from: PeerInfo, message: Box<Message>, body: Body) {
        let Message::Bodies(block, items) = &*message else { return };
        let duties = self.checks.gate.duties();
        match self.checks.bodies_hold(&duties, block, items) {
            Some(false) => return self.checks.gate.charge(from, Failure::OtherItems(body.len())),
            // A broken one among the true transactions of a block is what custodians look for: nobody pays for it.
            Some(true) => drop(self.checks.verify(items)),
            None => {
                // Its minters send it before the block is final: they have built it, and nothing in it is broken. Who
                // lies is found out by the first few, not by all.
                for few in items.chunks(BODIES_AT_ONCE) {
                    if !self.checks.verify(few).is_empty() {
                        return self.checks.gate.charge(from, Failure::Signatures(few.len()));
                    }
                }
            }
        }
        self.checks.hand_on(from, message, body);
    }
}
