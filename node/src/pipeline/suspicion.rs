//! Which connections have lately sent broken signatures: they are verified apart, so that a flood of them cannot make
//! honest batches fail or take their time.

use std::sync::atomic::{AtomicU32, Ordering};

/// Good signatures that it takes to be trusted again.
const PENANCE: u32 = 4_096;

/// A debt for each place in the connection table.
pub struct Suspicion {
    debts: Box<[AtomicU32]>,
}

impl Suspicion {
    /// Nobody is suspected.
    pub fn new(connections_max: usize) -> Suspicion {
        Suspicion { debts: (0..connections_max).map(|_| AtomicU32::new(0)).collect() }
    }

    /// Whether the connection at this place is to be verified apart.
    pub fn is_suspect(&self, place: u32) -> bool {
        self.debts[place as usize].load(Ordering::Relaxed) > 0
    }

    /// Books a verdict. Two threads may book at once; a lost step only shortens or lengthens the penance.
    pub fn book(&self, place: u32, good: bool) {
        let debt = &self.debts[place as usize];
        if !good {
            debt.store(PENANCE, Ordering::Relaxed);
            return;
        }
        let now = debt.load(Ordering::Relaxed);
        if now > 0 {
            debt.store(now - 1, Ordering::Relaxed);
        }
    }

    /// A new connection takes the place.
    pub fn forget(&self, place: u32) {
        self.debts[place as usize].store(0, Ordering::Relaxed);
    }
}
