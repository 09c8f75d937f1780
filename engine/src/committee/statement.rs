//! What minters sign: statements, certificates of many, and evidence of two that contradict each other.

use super::members::Committee;
use crate::base::hash::{Hash, keyed, purpose_key};
use crate::base::ids::{Seat, Sig};
use crate::base::limits::SEATS_MAX;
use crate::base::mutation::{Mutation, planted};
use crate::base::read::{CodecError, Read, array, le_u16, le_u32, le_u64, take};
use crate::vote::signing::Signing;
use std::sync::LazyLock;

static DIGEST_KEY: LazyLock<Hash> = LazyLock::new(|| purpose_key("dynemix consensus message v1"));

/// What a signature is for: each kind's digests differ from every other's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the messages below say what each is")]
pub enum StatementKind {
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

impl StatementKind {
    /// The kind of this number, if there is one.
    pub fn from_number(number: u8) -> Option<StatementKind> {
        use StatementKind::*;
        [SetRoot, List, Decision, ShardVote, Proposal, First, Second, Answer, Endpoint, Alarm, NotServed]
            .into_iter()
            .find(|&kind| kind as u8 == number)
    }
}

/// What is signed. Numbers that a kind does not have are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Statement {
    /// What the signature is for; two kinds never share a digest.
    pub kind: StatementKind,
    /// Height that the statement is made for.
    pub height: u64,
    /// Slot of the shard round, or attempt of the master round.
    pub number: u64,
    /// Shard that it concerns; 0 for what concerns none.
    pub shard: u16,
    /// Attempt of the certificate that justifies the value.
    pub justified_by: u64,
    /// What is said.
    pub hash: Hash,
}

impl Statement {
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

    /// How many seats are in the set.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether no seat is in the set.
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

    /// The seats that are in both sets.
    pub fn shared(&self, other: &SeatSet) -> SeatSet {
        SeatSet(std::array::from_fn(|word| self.0[word] & other.0[word]))
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
    /// Seats whose signatures are in the aggregate.
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

/// Two statements of one minter that no honest one makes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Evidence {
    /// Account index of the minter that signed both.
    pub candidate: u32,
    /// What was signed: one kind twice, or a first vote against an earlier second one.
    pub kinds: [StatementKind; 2],
    /// Height that both statements are of.
    pub height: u64,
    /// Slot or attempt of each.
    pub numbers: [u64; 2],
    /// Shard that both are of; 0 for votes of the master round.
    pub shard: u16,
    /// What each says, what justified it, and its signature.
    pub statements: [(Hash, u64, Sig); 2],
}

impl Evidence {
    /// Two different statements of one kind, height and slot or attempt; in one order, whoever saw which first.
    pub fn of_two(
        candidate: u32,
        kind: StatementKind,
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
        let said = |place: usize| {
            let (hash, justified_by, signature) = self.statements[place];
            let (kind, height, shard, number) = (self.kinds[place], self.height, self.shard, self.numbers[place]);
            (Statement { kind, height, number, shard, justified_by, hash }, signature)
        };
        let said = [said(0), said(1)];
        contradict(&said[0].0, &said[1].0)
            && said
                .iter()
                .all(|(statement, signature)| signing.verify(self.candidate, &statement.digest(chain), signature))
    }
}

/// Whether no honest minter says both of these, in this order: one of two orders counts, so that two statements are one
/// proof.
fn contradict(one: &Statement, other: &Statement) -> bool {
    use StatementKind::{First, Proposal, Second, SetRoot, ShardVote};
    let of_one = (one.height, one.shard) == (other.height, other.shard);
    of_one
        && match (one.kind, other.kind) {
            (SetRoot | ShardVote | Proposal | First | Second, kind) if one.kind == kind => {
                one.number == other.number && (one.hash, one.justified_by) < (other.hash, other.justified_by)
            }
            // Whoever voted second for one value is locked on it until a later certificate frees him.
            (First, Second) => one.hash != other.hash && one.justified_by < other.number && other.number < one.number,
            _ => false,
        }
}

/// Two aggregates that contradict each other: proof against every seat whose signature is in both. Who forks a chain
/// and shows certificates only, never a vote, is found out by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// What was signed, and by whom: of one height and shard.
    pub certified: [(Statement, Certificate); 2],
}

impl Conflict {
    /// The proof that two certificates make, if they make one; in one order, whoever saw which first. Whether their
    /// signatures hold is for [`Self::verify`] to say.
    pub fn of_certificates(mut certified: [(Statement, Certificate); 2]) -> Option<Conflict> {
        if !contradict(&certified[0].0, &certified[1].0) {
            certified.reverse();
        }
        let conflict = Conflict { certified };
        (contradict(&conflict.certified[0].0, &conflict.certified[1].0) && !conflict.seats().is_empty())
            .then_some(conflict)
    }

    /// The height that it is about.
    pub fn height(&self) -> u64 {
        self.certified[0].0.height
    }

    /// Who signed both.
    pub fn seats(&self) -> SeatSet {
        self.certified[0].1.signers.shared(&self.certified[1].1.signers)
    }

    /// Whether these seats of the committee signed each, and some of them what contradicts itself. How many is not
    /// asked: a signature is its seat's in an aggregate of any size.
    pub fn verify(&self, committee: &Committee, chain: &Hash, signing: &(impl Signing + ?Sized)) -> bool {
        let [one, other] = &self.certified;
        committee.height == self.height()
            && contradict(&one.0, &other.0)
            && !self.seats().is_empty()
            && self
                .certified
                .iter()
                .all(|(statement, certificate)| certificate.verify(committee, 1, &statement.digest(chain), signing))
    }
}

/// Appends a certificate: seats in the shortest bitmap, then the aggregate.
pub fn encode_certificate(certificate: &Certificate, out: &mut Vec<u8>) {
    let bitmap = certificate.signers.to_bytes();
    out.push(bitmap.len() as u8);
    out.extend_from_slice(&bitmap);
    out.extend_from_slice(&certificate.aggregate);
}

/// Reads what [`encode_certificate`] wrote, and nothing else.
///
/// # Errors
/// The bytes end, or the bitmap is not the shortest.
pub fn decode_certificate(bytes: &mut &[u8]) -> Result<Certificate, CodecError> {
    let [length] = array(bytes)?;
    let bitmap = take(bytes, usize::from(length))?;
    let signers = SeatSet::from_bytes(bitmap).ok_or(CodecError::Field)?;
    Ok(Certificate { signers, aggregate: array(bytes)? })
}

pub(crate) fn encode_evidence(evidence: &Evidence, out: &mut Vec<u8>) {
    let Evidence { candidate, kinds, height, numbers, shard, statements } = evidence;
    out.extend_from_slice(&candidate.to_le_bytes());
    kinds.iter().for_each(|&kind| out.push(kind as u8));
    out.extend_from_slice(&height.to_le_bytes());
    numbers.iter().for_each(|number| out.extend_from_slice(&number.to_le_bytes()));
    out.extend_from_slice(&shard.to_le_bytes());
    for (hash, justified_by, signature) in statements {
        out.extend_from_slice(hash);
        out.extend_from_slice(&justified_by.to_le_bytes());
        out.extend_from_slice(signature);
    }
}

fn read_kind(number: u8) -> Read<StatementKind> {
    StatementKind::from_number(number).ok_or(CodecError::Field)
}

pub(crate) fn decode_evidence(bytes: &mut &[u8]) -> Read<Evidence> {
    let candidate = le_u32(bytes)?;
    let kinds: [u8; 2] = array(bytes)?;
    let kinds = [read_kind(kinds[0])?, read_kind(kinds[1])?];
    let height = le_u64(bytes)?;
    let numbers = [le_u64(bytes)?, le_u64(bytes)?];
    let shard = le_u16(bytes)?;
    let statements = [(array(bytes)?, le_u64(bytes)?, array(bytes)?), (array(bytes)?, le_u64(bytes)?, array(bytes)?)];
    Ok(Evidence { candidate, kinds, height, numbers, shard, statements })
}

pub(crate) fn encode_conflict(conflict: &Conflict, out: &mut Vec<u8>) {
    let Conflict { certified } = conflict;
    certified.iter().for_each(|(statement, _)| out.push(statement.kind as u8));
    out.extend_from_slice(&conflict.height().to_le_bytes());
    certified.iter().for_each(|(statement, _)| out.extend_from_slice(&statement.number.to_le_bytes()));
    out.extend_from_slice(&certified[0].0.shard.to_le_bytes());
    for (statement, certificate) in certified {
        out.extend_from_slice(&statement.hash);
        out.extend_from_slice(&statement.justified_by.to_le_bytes());
        encode_certificate(certificate, out);
    }
}

pub(crate) fn decode_conflict(bytes: &mut &[u8]) -> Read<Conflict> {
    let kinds: [u8; 2] = array(bytes)?;
    let kinds = [read_kind(kinds[0])?, read_kind(kinds[1])?];
    let height = le_u64(bytes)?;
    let numbers = [le_u64(bytes)?, le_u64(bytes)?];
    let shard = le_u16(bytes)?;
    let mut certified = |place: usize| -> Read<(Statement, Certificate)> {
        let (hash, justified_by) = (array(bytes)?, le_u64(bytes)?);
        let statement = Statement { kind: kinds[place], height, number: numbers[place], shard, justified_by, hash };
        Ok((statement, decode_certificate(bytes)?))
    };
    Ok(Conflict { certified: [certified(0)?, certified(1)?] })
}
