//! The shard's set: verified transactions that wait for a block, at most eight a sender, in chains by sequence.
//!
//! ```text
//!   heads: account -> lowest waiting sequence -> next -> ...      links stand in the arena's notes
//! ```

use super::arena::{Arena, Handle};
use crate::base::ids::AccountIndex;
use crate::base::parameters::SEQUENCES_AHEAD;
use crate::base::refusal::Refusal;
use hashbrown::HashMap;
use hashbrown::hash_map::Entry;

/// A transaction that leaves the engine with a refusal.
pub type Refused = (Handle, Refusal);

/// Heads of the chains by account, and how many transactions wait in all.
pub struct Pool {
    heads: HashMap<AccountIndex, Handle>,
    waiting: usize,
}

impl Pool {
    /// A pool that holds the heads of up to `senders_max` chains without growing.
    pub fn with_capacity(senders_max: usize) -> Pool {
        Pool { heads: HashMap::with_capacity(senders_max), waiting: 0 }
    }

    /// Bytes of a pool for so many senders: entry and control byte, at the table's load of 7/8 and its next power of
    /// two.
    pub fn bytes(senders_max: usize) -> u64 {
        (senders_max as u64 * 8 / 7).next_power_of_two() * (8 + 1)
    }

    /// Transactions that wait.
    pub fn len(&self) -> usize {
        self.waiting
    }

    /// Whether none waits.
    pub fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// Admits a transaction of `account`, whose next sequence is `sequence_next`. Of two with one sequence the lower id
    /// stays; of two signatures of one content the lower signature.
    ///
    /// # Errors
    /// Whichever transaction has to go, with the reason: the new one or one that it displaces.
    pub fn admit(
        &mut self,
        arena: &Arena,
        mut slot: Handle,
        account: AccountIndex,
        sequence_next: u32,
    ) -> Result<(), Refused> {
        let sequence = arena.cell(&slot).sequence;
        if sequence < u64::from(sequence_next) || sequence - u64::from(sequence_next) >= u64::from(SEQUENCES_AHEAD) {
            return Err((slot, Refusal::WrongSequence));
        }
        arena.note_mut(&mut slot).account = account;
        let mut head = match self.heads.entry(account) {
            Entry::Vacant(vacant) => {
                vacant.insert(slot);
                self.waiting += 1;
                return Ok(());
            }
            Entry::Occupied(occupied) => occupied,
        };
        let displaced = insert_by_sequence(arena, head.get_mut(), slot);
        self.waiting += usize::from(displaced.is_none());
        displaced.map_or(Ok(()), Err)
    }

    /// Takes out every chain; what is not used must come back by [`Self::put_back`].
    pub fn take_chains(&mut self, out: &mut Vec<(AccountIndex, Handle)>) {
        assert!(self.waiting >= self.heads.len(), "each chain has a transaction that waits");
        self.waiting = 0;
        out.extend(self.heads.drain());
    }

    /// Puts a chain of `account` back.
    ///
    /// # Panics
    /// When the account has a chain.
    pub fn put_back(&mut self, arena: &Arena, account: AccountIndex, head: Handle) {
        let mut at = &head;
        self.waiting += 1;
        while let Some(next) = &arena.note(at).successor {
            self.waiting += 1;
            at = next;
        }
        let before = self.heads.insert(account, head);
        assert!(before.is_none(), "a sender has one chain");
    }
}

/// Inserts `slot` into the chain at `head`; returns what had to leave.
fn insert_by_sequence(arena: &Arena, head: &mut Handle, mut slot: Handle) -> Option<Refused> {
    let sequence = arena.cell(&slot).sequence;
    let head_sequence = arena.cell(head).sequence;
    if sequence < head_sequence {
        std::mem::swap(head, &mut slot);
        arena.note_mut(head).successor = Some(slot);
        return None;
    }
    if sequence > head_sequence {
        return match &mut arena.note_mut(head).successor {
            Some(successor) => insert_by_sequence(arena, successor, slot),
            end => {
                *end = Some(slot);
                None
            }
        };
    }
    let (new, old) = (arena.note(&slot).id, arena.note(head).id);
    let reason = if new == old { Refusal::Duplicate } else { Refusal::SenderConflict };
    let replaces = if new == old { arena.cell(&slot).signature < arena.cell(head).signature } else { new < old };
    if replaces {
        let successor = arena.note_mut(head).successor.take();
        std::mem::swap(head, &mut slot);
        arena.note_mut(head).successor = successor;
    }
    Some((slot, reason))
}

#[cfg(all(test, not(feature = "loom")))]
mod tests {
    use super::*;

    struct Setting {
        arena: Arena,
        free: Vec<Handle>,
        pool: Pool,
    }

    impl Setting {
        fn new() -> Setting {
            let arena = Arena::new(32, 1);
            let mut free = Vec::new();
            arena.take_into(&mut free, 32, &mut Vec::new());
            Setting { arena, free, pool: Pool::with_capacity(32) }
        }

        fn admit(&mut self, sequence: u64, id: u8, signature: u8) -> Result<(), (u8, Refusal)> {
            let mut slot = self.free.pop().unwrap();
            self.arena.cell_mut(&mut slot).sequence = sequence;
            self.arena.cell_mut(&mut slot).signature = [signature; 64];
            self.arena.note_mut(&mut slot).id = [id; 32];
            self.pool.admit(&self.arena, slot, 7, 10).map_err(|(slot, reason)| (self.arena.note(&slot).id[0], reason))
        }

        fn chain(&mut self) -> Vec<(u64, u8)> {
            let mut chains = Vec::new();
            self.pool.take_chains(&mut chains);
            let mut at = chains.pop().map(|chain| chain.1);
            let mut out = Vec::new();
            while let Some(mut slot) = at {
                out.push((self.arena.cell(&slot).sequence, self.arena.note(&slot).id[0]));
                at = self.arena.note_mut(&mut slot).successor.take();
            }
            out
        }
    }

    #[test]
    fn a_chain_is_sorted_and_bounded() {
        let mut setting = Setting::new();
        for sequence in [12, 10, 17, 11, 14] {
            assert_eq!(setting.admit(sequence, sequence as u8, 0), Ok(()));
        }
        assert_eq!(setting.admit(9, 1, 0), Err((1, Refusal::WrongSequence)));
        assert_eq!(setting.admit(18, 1, 0), Err((1, Refusal::WrongSequence)));
        assert_eq!(setting.pool.len(), 5);
        assert_eq!(setting.chain(), [(10, 10), (11, 11), (12, 12), (14, 14), (17, 17)]);
        assert!(setting.pool.is_empty());
    }

    #[test]
    fn of_two_with_one_sequence_the_lower_id_stays() {
        let mut setting = Setting::new();
        for sequence in [10, 11, 12] {
            setting.admit(sequence, 50, 5).unwrap();
        }
        assert_eq!(setting.admit(11, 60, 0), Err((60, Refusal::SenderConflict)));
        assert_eq!(setting.admit(11, 40, 0), Err((50, Refusal::SenderConflict)));
        assert_eq!(setting.admit(10, 50, 9), Err((50, Refusal::Duplicate)));
        assert_eq!(setting.admit(12, 50, 1), Err((50, Refusal::Duplicate)));
        assert_eq!(setting.pool.len(), 3);
        assert_eq!(setting.chain(), [(10, 50), (11, 40), (12, 50)]);
    }
}
