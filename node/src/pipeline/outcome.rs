//! What became of a transaction, on its way to the stage that owns the sockets.

use dynemix_engine::base::refusal::Refusal;
use dynemix_engine::pipeline::arena::Handle;
use dynemix_engine::pipeline::ring::Word;

/// What became of the transaction in a slot; the slot travels with it, to be given back.
#[derive(Debug)]
pub struct Outcome {
    /// Where the transaction's cell is.
    pub slot: Handle,
    /// Final, or why not.
    pub result: Result<(), Refusal>,
}

// SAFETY: slot and result number survive in separate halves; a word is turned back once, so the slot moves with it.
unsafe impl Word for Outcome {
    fn into_word(self) -> u64 {
        let result = self.result.map_or_else(|refusal| refusal as u64, |()| 0);
        self.slot.into_word() | (result << 32)
    }

    unsafe fn from_word(word: u64) -> Outcome {
        let result = Refusal::from_number((word >> 32) as u8).map_or(Ok(()), Err);
        // SAFETY: the low half came from the slot's own word, by the caller's promise.
        Outcome { slot: unsafe { Handle::from_word(word & u64::from(u32::MAX)) }, result }
    }
}
