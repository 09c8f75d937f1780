//! Wakes the server's loop from another thread.

use mio::Waker;
use std::sync::atomic::{AtomicBool, Ordering};

/// Wakes the loop from another thread, at the cost of a system call only when it sleeps.
pub struct LoopWaker {
    /// Set while the loop waits for its sockets.
    pub(super) sleeping: AtomicBool,
    pub(super) waker: Waker,
}

impl LoopWaker {
    /// Makes a sleeping loop turn; a loop that is awake is left alone.
    pub fn wake(&self) {
        // Pairs with the loop's own swap: either it sees what the caller published before, or the caller sees it
        // sleeping.
        if self.sleeping.swap(false, Ordering::SeqCst) {
            // A failed wake only delays: the loop looks by itself every few milliseconds.
            let _ = self.waker.wake();
        }
    }
}
