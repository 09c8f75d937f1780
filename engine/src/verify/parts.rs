//! Where a verifier's time goes.

/// Ticks of the processor's time-stamp counter that each part of the work has taken; see [`ticks`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Parts {
    /// Keys looked up and copied, and second points of keys that came again.
    pub keys: u64,
    /// Square roots: points decoded.
    pub decode: u64,
    /// SHA-512 of R, key, prefix and message.
    pub hash: u64,
    /// Coefficients, scalars modulo the group's order, digits.
    pub scalars: u64,
    /// Digits sorted into buckets.
    pub sort: u64,
    /// Points added into buckets.
    pub additions: u64,
    /// Buckets folded and windows doubled together.
    pub folding: u64,
    /// Signatures that got a verdict each.
    pub verdicts: u64,
}

impl Parts {
    /// The parts by name, in the order of the work.
    pub fn named(&self) -> [(&'static str, u64); 8] {
        let Parts { keys, decode, hash, scalars, sort, additions, folding, verdicts } = *self;
        [
            ("keys", keys),
            ("decode", decode),
            ("hash", hash),
            ("scalars", scalars),
            ("sort", sort),
            ("additions", additions),
            ("folding", folding),
            ("verdicts", verdicts),
        ]
    }

    /// The sum of two verifiers' parts.
    pub(super) fn plus(&self, other: &Parts) -> Parts {
        Parts {
            keys: self.keys.wrapping_add(other.keys),
            decode: self.decode.wrapping_add(other.decode),
            hash: self.hash.wrapping_add(other.hash),
            scalars: self.scalars.wrapping_add(other.scalars),
            sort: self.sort.wrapping_add(other.sort),
            additions: self.additions.wrapping_add(other.additions),
            folding: self.folding.wrapping_add(other.folding),
            verdicts: self.verdicts.wrapping_add(other.verdicts),
        }
    }
}

/// The time-stamp counter: about the nominal cycles since the processor's start. Nanoseconds where there is none. Only
/// differences mean something, and those between cores may be off.
#[cfg(target_arch = "x86_64")]
pub fn ticks() -> u64 {
    // SAFETY: every x86-64 processor has the instruction; it reads nothing of ours.
    unsafe { std::arch::x86_64::_rdtsc() }
}

/// The time-stamp counter: about the nominal cycles since the processor's start. Nanoseconds where there is none. Only
/// differences mean something, and those between cores may be off.
#[cfg(not(target_arch = "x86_64"))]
pub fn ticks() -> u64 {
    static START: std::sync::LazyLock<std::time::Instant> = std::sync::LazyLock::new(std::time::Instant::now);
    START.elapsed().as_nanos() as u64
}

/// Gives each part the time since the one before.
pub(super) struct Watch(u64);

impl Watch {
    pub(super) fn start() -> Watch {
        Watch(ticks())
    }

    /// Ends a part. Wrapping: a thread that moves may find another core's counter behind.
    pub(super) fn lap(&mut self, part: &mut u64) {
        let now = ticks();
        *part = part.wrapping_add(now.wrapping_sub(self.0));
        self.0 = now;
    }
}
