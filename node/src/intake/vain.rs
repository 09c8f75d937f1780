//! What comes to nothing and is nobody's fault: of a height that is past, a record that is known, a question too many.
//! An honest peer says some of it in every slot. Each costs a few microseconds, so that a line full of it costs what no
//! single one does: beyond so many in a second it is not wanted from whoever says it.

use super::asked::Whom;
use std::collections::BTreeMap;

/// Frames in vain that are free in a second: ten times what an honest peer says in a whole slot, in vain or not.
const FREE_IN_SECOND: u32 = 256;
const SECOND_MS: u64 = 1_000;

/// What came to nothing in the second that goes on, by name, or by connection of who has none.
#[derive(Default)]
pub struct Vain {
    begun_ms: u64,
    frames: BTreeMap<Whom, u32>,
}

impl Vain {
    /// A frame has come to nothing; whether that is too much.
    pub fn is_too_much(&mut self, whom: Whom, now_ms: u64) -> bool {
        if now_ms.saturating_sub(self.begun_ms) >= SECOND_MS {
            self.begun_ms = now_ms;
            self.frames.clear();
        }
        let frames = self.frames.entry(whom).or_insert(0);
        *frames = frames.saturating_add(1);
        *frames > FREE_IN_SECOND
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_is_free_for_each_in_every_second_and_a_line_full_of_it_is_not() {
        let mut vain = Vain::default();
        let too_much =
            |vain: &mut Vain, name, now_ms| (0..1_000).filter(|_| vain.is_too_much(Whom::Name(name), now_ms)).count();
        assert_eq!(too_much(&mut vain, 1, 5_000), 744);
        assert_eq!(too_much(&mut vain, 1, 5_999), 1_000);
        assert!(!vain.is_too_much(Whom::Name(2), 5_999), "another's line");
        assert_eq!(too_much(&mut vain, 1, 6_000), 744);
    }
}
