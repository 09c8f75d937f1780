//! Why something is refused: one name, one number on the wire, one counter each.

use serde::Serialize;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal;)+) => {
        /// Why a transaction is refused. The number is what travels.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        #[repr(u8)]
        pub enum Refusal { $($(#[doc = $doc])+ $name = $number,)+ }

        impl Refusal {
            /// Every refusal, in order of number.
            pub const ALL: &'static [Refusal] = &[$(Refusal::$name,)+];

            /// The name in counters, reports and JSON.
            pub fn name(self) -> &'static str {
                match self { $(Refusal::$name => $text,)+ }
            }

            /// The refusal of this number, if there is one.
            pub fn from_number(number: u8) -> Option<Refusal> {
                match number { $($number => Some(Refusal::$name),)+ _ => None }
            }
        }
    };
}

refusals! {
    /// There is no room for it: send again later.
    Busy = 1, "busy";
    /// The cell's version is not 1.
    UnknownVersion = 2, "unknown_version";
    /// No such kind of transaction.
    UnknownKind = 3, "unknown_kind";
    /// Reserved bytes are not zero.
    ReservedNotZero = 4, "reserved_not_zero";
    /// The output count does not fit the kind or the payload.
    OutputCount = 5, "output_count";
    /// The payload is missing, has the wrong length, or its hash is not the cell's.
    PayloadMismatch = 6, "payload_mismatch";
    /// The sequence does not fit 32 bits.
    SequenceRange = 7, "sequence_range";
    /// `expires_slot` has passed.
    Expired = 8, "expired";
    /// `expires_slot` lies further ahead than the chain's window.
    ExpiresTooFar = 9, "expires_too_far";
    /// An output is below the chain's minimum.
    AmountBelowMinimum = 10, "amount_below_minimum";
    /// Outputs and fees together exceed what can exist.
    AmountOverflow = 11, "amount_overflow";
    /// The signature does not verify. A transaction signed for another chain ends here too.
    BadSignature = 12, "bad_signature";
    /// The sender has no account.
    UnknownSender = 13, "unknown_sender";
    /// The sequence is used already, or too far ahead of the account's.
    WrongSequence = 14, "wrong_sequence";
    /// The balance in the parent state does not cover outputs and fees.
    InsufficientBalance = 15, "insufficient_balance";
    /// The same transaction is in the pool already.
    Duplicate = 16, "duplicate";
    /// Another transaction of this sender with this sequence has the lower id: one a block.
    SenderConflict = 17, "sender_conflict";
    /// A new account's key does not decode or is of small order.
    RecipientInvalid = 18, "recipient_invalid";
    /// The name is not one that can be registered, or what is locked with it is not what the chain asks for.
    NameInvalid = 20, "name_invalid";
    /// What it registers, stakes or unstakes does not fit the chain's tables: the name is taken or there is none, the
    /// key is another than before or not proved, there is less at stake, or the block that it names is not one of the
    /// last.
    Inadmissible = 22, "inadmissible";
}

/// One counter a refusal, by number.
#[derive(Clone, Debug)]
pub struct RefusalCounters {
    counts: [u64; 64],
}

impl Default for RefusalCounters {
    fn default() -> Self {
        RefusalCounters { counts: [0; 64] }
    }
}

impl RefusalCounters {
    /// Adds `count` to the counter of this refusal.
    pub fn add(&mut self, refusal: Refusal, count: u64) {
        self.counts[refusal as usize] += count;
    }

    /// How many of this one.
    pub fn get(&self, refusal: Refusal) -> u64 {
        self.counts[refusal as usize]
    }

    /// Those that happened, by number.
    pub fn nonzero(&self) -> impl Iterator<Item = (Refusal, u64)> + '_ {
        Refusal::ALL.iter().map(|&refusal| (refusal, self.get(refusal))).filter(|entry| entry.1 > 0)
    }

    /// Sum over all refusals.
    pub fn total(&self) -> u64 {
        self.counts.iter().sum()
    }
}
