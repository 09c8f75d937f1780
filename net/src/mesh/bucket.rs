//! How much may be asked for in a second: a bucket that fills with time. No clock here: `now` is an argument.

/// A bucket: it holds what may be had at once, and may be owed into.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    per_s: u64,
    /// What it holds when it is full.
    holds: u64,
    /// Thousandths of what may be had; below zero it is owed.
    level: i128,
    at_ms: u64,
}

impl Bucket {
    /// A full one, which holds what comes in a second.
    pub fn new(per_s: u64, now_ms: u64) -> Bucket {
        Bucket::holding(per_s, per_s, now_ms)
    }

    /// A full one, which holds so much.
    pub fn holding(holds: u64, per_s: u64, now_ms: u64) -> Bucket {
        Bucket { per_s, holds, level: i128::from(holds) * 1_000, at_ms: now_ms }
    }

    /// From now on it fills otherwise, and holds otherwise.
    pub fn set(&mut self, holds: u64, per_s: u64, now_ms: u64) {
        self.fill(now_ms);
        (self.holds, self.per_s) = (holds, per_s);
        self.fill(now_ms);
    }

    /// What it holds when it is full: more is never there at once.
    pub fn holds(&self) -> u64 {
        self.holds
    }

    fn fill(&mut self, now_ms: u64) {
        let passed = now_ms.saturating_sub(self.at_ms);
        self.at_ms = self.at_ms.max(now_ms);
        let full = i128::from(self.holds) * 1_000;
        self.level = (self.level + i128::from(self.per_s) * i128::from(passed)).min(full);
        assert!(self.level <= full, "a bucket holds {} of at most {full}", self.level);
    }

    /// Whether so much is there now.
    pub fn has(&mut self, now_ms: u64, amount: u64) -> bool {
        self.fill(now_ms);
        self.level >= i128::from(amount) * 1_000
    }

    /// Takes so much; what is not there is owed.
    pub fn take(&mut self, now_ms: u64, amount: u64) {
        self.fill(now_ms);
        self.level -= i128::from(amount) * 1_000;
    }

    /// Milliseconds until nothing is owed any more.
    pub fn owed_ms(&mut self, now_ms: u64) -> u64 {
        self.fill(now_ms);
        let owed = u128::try_from(-self.level).unwrap_or(0);
        u64::try_from(owed.div_ceil(u128::from(self.per_s.max(1)))).unwrap_or(u64::MAX)
    }

    /// Whether it is full: then it may be forgotten.
    pub fn is_full(&mut self, now_ms: u64) -> bool {
        self.fill(now_ms);
        self.level >= i128::from(self.holds) * 1_000
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_fills_with_time_and_no_further() {
        let mut bucket = Bucket::new(10, 0);
        assert!(bucket.is_full(0));
        for _ in 0..10 {
            assert!(bucket.has(0, 1));
            bucket.take(0, 1);
        }
        assert!(!bucket.has(99, 1) && bucket.has(100, 1), "ten a second are one every tenth of it");
        assert!(bucket.has(3_600_000, 10) && !bucket.has(3_600_000, 11));
        // A clock that goes back gives nothing.
        bucket.take(3_600_000, 10);
        assert!(!bucket.has(0, 1) && !bucket.has(3_600_000, 1));
    }

    #[test]
    fn what_is_owed_is_paid_by_waiting() {
        let mut bucket = Bucket::new(1_000, 0);
        assert_eq!(bucket.owed_ms(0), 0);
        bucket.take(0, 3_000);
        assert_eq!(bucket.owed_ms(0), 2_000);
        assert_eq!(bucket.owed_ms(500), 1_500);
        assert!(bucket.owed_ms(2_000) == 0 && !bucket.has(2_000, 1) && !bucket.is_full(2_999) && bucket.is_full(3_000));
        bucket.take(3_000, u64::MAX);
        assert!(bucket.owed_ms(3_000) > 1 << 50);
        assert_eq!(Bucket::new(0, 0).owed_ms(u64::MAX), 0);
    }

    #[test]
    fn what_fills_otherwise_keeps_what_is_there_as_far_as_it_holds_it() {
        let mut bucket = Bucket::holding(20, 10, 0);
        bucket.take(0, 5);
        bucket.set(40, 20, 100);
        assert!(bucket.has(100, 16) && !bucket.has(100, 17) && bucket.has(1_300, 40));
        bucket.set(4, 2, 1_300);
        assert!(bucket.has(1_300, 4) && !bucket.has(1_300, 5) && bucket.holds() == 4);
    }
}
