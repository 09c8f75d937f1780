//! Why something is refused: one name, one number on the wire, one counter each.

use serde::Serialize;

macro_rules! refusals {
    ($($(#[doc = $doc:literal])+ $name:ident = $number:literal, $text:literal, $says:literal;)+) => {
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

            /// What it means and what to do, for people.
            pub fn says(self) -> &'static str {
                match self { $(Refusal::$name => $says,)+ }
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
    Busy = 1, "busy",
        "the node has no room for it now: hand it in again later";
    /// The cell's version is not 1.
    UnknownVersion = 2, "unknown_version",
        "the transaction is of a version that this chain does not know: use a wallet of this version";
    /// No such kind of transaction.
    UnknownKind = 3, "unknown_kind",
        "the transaction is of a kind that this chain does not know: use a wallet of this version";
    /// Reserved bytes are not zero.
    ReservedNotZero = 4, "reserved_not_zero",
        "bytes that mean nothing yet are not zero: whatever made the transaction is wrong";
    /// The output count does not fit the kind or the payload.
    OutputCount = 5, "output_count",
        "the number of recipients does not fit the rest: whatever made the transaction is wrong";
    /// The payload is missing, has the wrong length, or its hash is not the cell's.
    PayloadMismatch = 6, "payload_mismatch",
        "the payload is missing, too long, or not the one that was signed: hand in both together";
    /// The sequence does not fit 32 bits.
    SequenceRange = 7, "sequence_range",
        "the sequence number is beyond what an account can ever have: whatever made the transaction is wrong";
    /// `expires_slot` has passed.
    Expired = 8, "expired",
        "the last slot in which it could come into a block is over: sign it anew";
    /// `expires_slot` lies further ahead than the chain's window.
    ExpiresTooFar = 9, "expires_too_far",
        "it would be good for longer than this chain allows: sign it with an earlier last slot";
    /// An output is below the chain's minimum.
    AmountBelowMinimum = 10, "amount_below_minimum",
        "the amount is below the least that this chain moves: pay more";
    /// Outputs and fees together exceed what can exist.
    AmountOverflow = 11, "amount_overflow",
        "the amounts together are more than can exist: pay less";
    /// The signature does not verify. A transaction signed for another chain ends here too.
    BadSignature = 12, "bad_signature",
        "the signature does not hold: it was signed with another key or for another chain";
    /// The sender has no account.
    UnknownSender = 13, "unknown_sender",
        "there is no account of the sender's key: the first payment to it opens one";
    /// The sequence is used already, or too far ahead of the account's.
    WrongSequence = 14, "wrong_sequence",
        "the sequence number is used already or too far ahead: ask for the account's next one";
    /// The balance in the parent state does not cover outputs and fees.
    InsufficientBalance = 15, "insufficient_balance",
        "the account has less than the amount: wait until what it gets can be spent, or pay less";
    /// The same transaction is in the pool already.
    Duplicate = 16, "duplicate",
        "the same transaction is here already: ask what became of it";
    /// Another transaction of this sender with this sequence has the lower id: one a block.
    SenderConflict = 17, "sender_conflict",
        "another transaction of this account with this sequence number is under way: wait for its end";
    /// A new account's key does not decode or is of small order.
    RecipientInvalid = 18, "recipient_invalid",
        "the recipient's key is none that anyone can have: look for a slip of the finger";
    /// The name is not one that can be registered, or what is locked with it is not what the chain asks for.
    NameInvalid = 20, "name_invalid",
        "the name has not its form (1 to 32 of a-z, 0-9, dot, dash, underscore; a letter first, a letter or digit last), or the reserve is not the chain's: choose another";
    /// No block can take it, for another reason than those below.
    Inadmissible = 22, "inadmissible",
        "no block can take it: what it asks for has changed meanwhile, so look at the account before signing anew";
    /// The name that it registers is another account's.
    NameTaken = 23, "name_taken",
        "the name is taken: choose another";
    /// It registers a name, and its account has one.
    NameHeld = 24, "name_held",
        "the account has a name already, and a name is for good";
    /// It stakes, and its account has no name.
    NameMissing = 25, "name_missing",
        "only an account with a name can stake: register one first, and wait until it counts";
    /// It unstakes more than is at stake.
    StakeShort = 26, "stake_short",
        "less is at stake than it would take back: take back less";
    /// It stakes by another voting key than before.
    VoteKeyDiffers = 27, "vote_key_differs",
        "the account has staked with another voting key, and that one is for good: use the node's key file of then";
    /// It does not prove its voting key.
    VoteKeyUnproved = 28, "vote_key_unproved",
        "the stake does not prove that its voting key is the sender's: use the node's own key file";
    /// Its account may not mint any more.
    Barred = 29, "barred",
        "the account is barred from minting for what it has signed: nothing brings that back";
    /// The block that a stake names is not one of the last.
    AnchorUnknown = 30, "anchor_unknown",
        "the block that it names is not one of the last: sign it anew";
    /// Another transaction of this sender with this sequence stands in a final block.
    Replaced = 31, "replaced",
        "another transaction of this account with this sequence number is final in its place: it never will be";
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
