//! What minters say to each other, and the digest that each signature is of.

use super::committee::{Committee, SEATS_MAX, Seat};
use super::mutation::{Mutation, planted};
use super::signing::{Sig, Signing};
use crate::block::ShardBlock;
use crate::hash::{Hash, keyed, purpose_key};
use crate::system::record::Attest;
use std::sync::{Arc, LazyLock};

static DIGEST_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix consensus message v1"));
static VALUE_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix master-block v1"));
static ITEM_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix item v1"));

/// What a signature is for: each kind's digests differ from every other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the messages below say what each is")]
pub enum Kind {
    SetRoot = 1,
    List,
    Decision,
    ShardVote,
    Proposal,
    First,
    Second,
    Answer,
    Endpoint,
    Alarm,
    NotServed,
}

impl Kind {
    /// The kind of this number, if there is one.
    pub fn from_number(number: u8) -> Option<Kind> {
        use Kind::*;
        [SetRoot, List, Decision, ShardVote, Proposal, First, Second, Answer, Endpoint, Alarm, NotServed]
            .into_iter()
            .find(|&kind| kind as u8 == number)
    }
}

/// What is signed. Numbers that a kind does not have are 0.
#[derive(Clone, Copy, Debug)]
pub struct Signed {
    /// Which kind.
    pub kind: Kind,
    /// Height.
    pub height: u64,
    /// Slot of the shard round, or attempt of the master round.
    pub number: u64,
    /// Shard.
    pub shard: u16,
    /// Attempt of the certificate that justifies the value.
    pub justified_by: u64,
    /// What is said.
    pub hash: Hash,
}

impl Signed {
    /// The digest, bound to the chain.
    pub fn digest(&self, chain: &Hash) -> Hash {
        let mut bytes = [0u8; 91];
        bytes[..32].copy_from_slice(chain);
        bytes[32] = self.kind as u8;
        bytes[33..41].copy_from_slice(&self.height.to_le_bytes());
        bytes[41..49].copy_from_slice(&self.number.to_le_bytes());
        bytes[49..51].copy_from_slice(&self.shard.to_le_bytes());
        bytes[51..59].copy_from_slice(&self.justified_by.to_le_bytes());
        bytes[59..].copy_from_slice(&self.hash);
        keyed(&DIGEST_KEY, &bytes)
    }
}

/// A set of seats: nobody can be in it twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SeatSet([u64; SEATS_MAX / 64]);

impl SeatSet {
    /// Adds a seat; false if it was there.
    pub fn insert(&mut self, seat: Seat) -> bool {
        let (word, bit) = (usize::from(seat) / 64, 1 << (seat % 64));
        let new = self.0[word] & bit == 0;
        self.0[word] |= bit;
        new
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// None.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The shortest bitmap: no zero byte at its end.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes: Vec<u8> = self.0.iter().flat_map(|word| word.to_le_bytes()).collect();
        bytes.truncate(bytes.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
        bytes
    }

    /// Reads what [`Self::to_bytes`] wrote, and nothing else.
    pub fn from_bytes(bitmap: &[u8]) -> Option<SeatSet> {
        let mut bytes = [0u8; SEATS_MAX / 8];
        bytes.get_mut(..bitmap.len())?.copy_from_slice(bitmap);
        let words = std::array::from_fn(|i| u64::from_le_bytes(bytes[8 * i..8 * i + 8].try_into().expect("8 bytes")));
        (bitmap.last() != Some(&0)).then_some(SeatSet(words))
    }

    /// Adds all seats of another set.
    pub fn extend(&mut self, other: &SeatSet) {
        self.0.iter_mut().zip(&other.0).for_each(|(word, other)| *word |= other);
    }

    /// The seats, ascending.
    pub fn iter(&self) -> impl Iterator<Item = Seat> + '_ {
        (0..SEATS_MAX as u16).filter(|&seat| self.0[usize::from(seat) / 64] >> (seat % 64) & 1 == 1)
    }
}

/// Signatures of some seats over one digest, combined. Never part of what is hashed: other nodes may hold other
/// signers'.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Who signed.
    pub signers: SeatSet,
    /// Their signatures, combined.
    pub aggregate: Sig,
}

impl Certificate {
    /// Whether these seats of the committee signed this, and are at least `quorum` in number.
    pub fn verify(
        &self,
        committee: &Committee,
        quorum: usize,
        digest: &Hash,
        signing: &(impl Signing + ?Sized),
    ) -> bool {
        let candidates: Option<Vec<u32>> = self
            .signers
            .iter()
            .map(|seat| committee.members.get(usize::from(seat)).map(|member| member.candidate))
            .collect();
        candidates.is_some_and(|candidates| {
            candidates.len() >= quorum && signing.verify_aggregate(&candidates, digest, &self.aggregate)
        })
    }
}

impl Certificate {
    /// The same of the master round: only delegates count, and they must be a quorum of those.
    pub fn verify_master(&self, committee: &Committee, digest: &Hash, signing: &(impl Signing + ?Sized)) -> bool {
        self.signers.iter().all(|seat| committee.is_delegate(seat))
            && self.verify(committee, committee.quorum(), digest, signing)
    }
}

/// A transaction or system record, as bytes with their id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Hash of the bytes.
    pub id: Hash,
    /// What [`super::execution::Execution`] understands.
    pub bytes: Vec<u8>,
}

impl Item {
    /// The item of these bytes.
    pub fn new(bytes: Vec<u8>) -> Arc<Item> {
        Arc::new(Item { id: keyed(&ITEM_KEY, &bytes), bytes })
    }
}

/// Items that many hold and nobody changes, ascending by id: a block's are a hundred thousand, and copying the row
/// would touch each of them.
pub type Items = Arc<[Arc<Item>]>;

fn items_bytes(items: &[Arc<Item>]) -> usize {
    items.iter().map(|item| item.bytes.len() + 64).sum()
}

/// A shard-block with its certificate, transactions and patch.
#[derive(Clone, Debug)]
pub struct CertifiedBlock {
    /// Height that it is for.
    pub height: u64,
    /// The header.
    pub block: ShardBlock,
    /// Its hash.
    pub hash: Hash,
    /// Who approved it.
    pub certificate: Certificate,
    /// What is in it, in ascending order of id. In quilt mode they stay in the shard, and with those who keep history.
    pub items: Items,
    /// Wire form of what it changes.
    pub patch: Vec<u8>,
}

impl CertifiedBlock {
    /// Bytes of its patch and items, roughly.
    pub fn body_bytes(&self) -> usize {
        self.patch.len() + items_bytes(&self.items)
    }

    /// The hash that a master-block lists.
    pub fn listed_hash(&self) -> Hash {
        if planted(Mutation::CertificateHashedIntoBlock) {
            let mut bytes = self.hash.to_vec();
            bytes.extend(self.certificate.signers.iter().flat_map(Seat::to_le_bytes));
            return keyed(&ITEM_KEY, &bytes);
        }
        self.hash
    }
}

/// A master-block: what a committee agrees on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Value {
    /// Its height.
    pub height: u64,
    /// Hash of the master-block before.
    pub parent: Hash,
    /// Its slot.
    pub slot: u64,
    /// The shard-block of each shard, if there is one.
    pub headers: Vec<Option<Hash>>,
    /// Hash of the quilt.
    pub quilt: Hash,
    /// Root of the state before it.
    pub parent_root: Hash,
    /// Root of the system after it: names, stakes, who is to mint and what is not mature.
    pub system: Hash,
    /// Seed after it.
    pub seed: Hash,
    /// Hash of the committee of the next height.
    pub committee_next: Hash,
}

impl Value {
    /// Its hash.
    pub fn hash(&self) -> Hash {
        let mut hasher = blake3::Hasher::new_keyed(&VALUE_KEY);
        hasher.update(&self.height.to_le_bytes()).update(&self.parent).update(&self.slot.to_le_bytes());
        hasher.update(&(self.headers.len() as u32).to_le_bytes());
        for header in &self.headers {
            hasher.update(&[u8::from(header.is_some())]).update(header.as_ref().unwrap_or(&[0; 32]));
        }
        hasher
            .update(&self.quilt)
            .update(&self.parent_root)
            .update(&self.system)
            .update(&self.seed)
            .update(&self.committee_next);
        *hasher.finalize().as_bytes()
    }
}

/// q first votes for one value in one attempt.
#[derive(Clone, Debug)]
pub struct Prepared {
    /// The attempt.
    pub attempt: u64,
    /// Attempt of the certificate that justified the value then.
    pub justified_by: u64,
    /// The value.
    pub value: Arc<Value>,
    /// Its hash.
    pub hash: Hash,
    /// Who voted.
    pub certificate: Certificate,
}

/// q second votes: the value is final.
#[derive(Clone, Debug)]
pub struct Final {
    /// The attempt.
    pub attempt: u64,
    /// The value.
    pub value: Arc<Value>,
    /// Its hash.
    pub hash: Hash,
    /// Who voted.
    pub certificate: Certificate,
}

/// Between the minters of one shard.
#[derive(Clone, Debug)]
pub enum ShardMessage {
    /// "My set has this root."
    SetRoot(Hash, Sig),
    /// "Tell me the set of that root, in short ids with this salt."
    WantSet(Hash, Hash),
    /// The salted short ids of a set.
    Set(Hash, Vec<u64>),
    /// "Send me these of that set", with the same salt.
    WantItems(Hash, Hash, Vec<u64>),
    /// Bodies.
    Items(Vec<Arc<Item>>),
    /// "I hold these minters' sets", with the signature of each root.
    List(Vec<(Seat, Hash)>, Vec<Sig>, Sig),
    /// The tie-breaker's choice among disputed sets.
    Decision(Vec<(Seat, Hash)>, Sig),
    /// "This is the block."
    Vote(Hash, Sig),
}

/// What travels.
#[derive(Clone, Debug)]
pub enum Message {
    /// A transaction or record for whoever may need it.
    Item(Arc<Item>),
    /// Of a shard round.
    Shard {
        /// Height.
        height: u64,
        /// Slot of the round.
        slot: u64,
        /// Shard.
        shard: u16,
        /// What.
        message: ShardMessage,
    },
    /// A shard-block's transactions, for those who keep history or look whether they are there.
    Bodies(Hash, Items),
    /// "Send me the transactions of that shard-block."
    WantBodies(Hash),
    /// "The transactions of that shard-block of an earlier height are kept back": whose, of which block, signed.
    Alarm(u32, Box<Attest>, Sig),
    /// "I looked and was not served": at which height, which block, signed.
    NotServed(u64, Hash, Sig),
    /// A certified shard-block.
    Block(Arc<CertifiedBlock>),
    /// "Send me these shard-blocks of that height."
    WantBlocks(u64, Vec<Hash>),
    /// "I hold these", with the highest certificate known.
    Have {
        /// Height.
        height: u64,
        /// Attempt.
        attempt: u64,
        /// Shard by shard.
        held: Vec<Option<Hash>>,
        /// Highest certificate of first votes.
        high: Option<Arc<Prepared>>,
    },
    /// A proposal of try 1.
    Proposal {
        /// Attempt.
        attempt: u64,
        /// The value.
        value: Arc<Value>,
        /// What justifies it, if anything but the headers does.
        prepared: Option<Arc<Prepared>>,
        /// Over the value's hash.
        signature: Sig,
    },
    /// First vote.
    First {
        /// Attempt.
        attempt: u64,
        /// The value.
        value: Arc<Value>,
        /// Attempt of the certificate that justifies it.
        justified_by: u64,
        /// Over the value's hash.
        signature: Sig,
    },
    /// Second vote.
    Second {
        /// Height.
        height: u64,
        /// Attempt.
        attempt: u64,
        /// The value's hash.
        hash: Hash,
        /// Over it.
        signature: Sig,
    },
    /// A final master-block with its shard-blocks.
    Final(Arc<Final>, Vec<Arc<CertifiedBlock>>),
    /// "Send me what became final at that height."
    WantFinal(u64),
}

impl Message {
    /// Bytes of the largest things in it, for whoever keeps messages.
    pub fn body_bytes(&self) -> usize {
        let bytes = match self {
            Message::Block(block) => block.body_bytes(),
            Message::Final(_, blocks) => blocks.iter().map(|block| block.body_bytes()).sum(),
            Message::Bodies(_, items) => items_bytes(items),
            Message::Shard { message: ShardMessage::Items(items), .. } => items_bytes(items),
            Message::Shard {
                message: ShardMessage::Set(_, shorts) | ShardMessage::WantItems(_, _, shorts), ..
            } => 8 * shorts.len(),
            _ => 0,
        };
        bytes + 1_024
    }
}

/// Two statements of one minter that no honest one makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Who.
    pub candidate: u32,
    /// What was signed: one kind twice, or a first vote against an earlier second one.
    pub kinds: [Kind; 2],
    /// Height.
    pub height: u64,
    /// Slot or attempt of each.
    pub numbers: [u64; 2],
    /// Shard.
    pub shard: u16,
    /// What each says, what justified it, and its signature.
    pub statements: [(Hash, u64, Sig); 2],
}

impl Evidence {
    /// Two different statements of one kind, height and slot or attempt; in one order, whoever saw which first.
    pub fn of_two(
        candidate: u32,
        kind: Kind,
        height: u64,
        number: u64,
        shard: u16,
        mut statements: [(Hash, u64, Sig); 2],
    ) -> Evidence {
        statements.sort_unstable();
        Evidence { candidate, kinds: [kind; 2], height, numbers: [number; 2], shard, statements }
    }

    /// Whether both signatures are the candidate's and contradict each other.
    pub fn verify(&self, chain: &Hash, signing: &(impl Signing + ?Sized)) -> bool {
        if planted(Mutation::SlashesWithoutProof) {
            return true;
        }
        let [first, second] = &self.statements;
        let contradict = match self.kinds {
            [Kind::SetRoot | Kind::ShardVote | Kind::Proposal | Kind::First | Kind::Second, _]
                if self.kinds[0] == self.kinds[1] =>
            {
                self.numbers[0] == self.numbers[1] && (first.0, first.1) < (second.0, second.1)
            }
            // Whoever voted second for one value is locked on it until a later certificate frees him.
            [Kind::First, Kind::Second] => {
                first.0 != second.0 && first.1 < self.numbers[1] && self.numbers[1] < self.numbers[0]
            }
            _ => false,
        };
        let holds = |place: usize| {
            let (hash, justified_by, signature) = &self.statements[place];
            let (kind, height, shard, number) = (self.kinds[place], self.height, self.shard, self.numbers[place]);
            let signed = Signed { kind, height, number, shard, justified_by: *justified_by, hash: *hash };
            signing.verify(self.candidate, &signed.digest(chain), signature)
        };
        contradict && holds(0) && holds(1)
    }
}
