//! Proof of one account's state against a root, for those who hold nothing else.
//!
//! Wire form, little endian: `version 1 | account u32 | height u64 | slot u64 | accounts u64 | pool u64 | group 8 x 48
//! | levels u8 | levels x (16 x 32)`.

use super::columns::{Columns, Hot};
use super::tree::{self, GROUP, GroupBytes, group_bytes, group_hash, levels, node_bytes, node_hash};
use crate::base::hash::{FAN_OUT, Hash};
use crate::base::ids::{AccountIndex, Key};

/// Version of the wire form.
pub const PROOF_VERSION: u8 = 1;
const ACCOUNT_BYTES: usize = size_of::<Key>() + size_of::<Hot>();
const HEAD_BYTES: usize = 1 + 4 + 4 * 8;
/// Levels above the groups that 2^32 accounts need.
const LEVELS_MAX: usize = 8;
/// Bytes of the longest proof.
pub const PROOF_BYTES_MAX: usize = HEAD_BYTES + GROUP * ACCOUNT_BYTES + 1 + LEVELS_MAX * FAN_OUT * 32;

/// An account's fields and what leads from them to the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AccountProof {
    /// Whose state it proves.
    pub account: AccountIndex,
    /// Height of the state.
    pub height: u64,
    /// Slot of the last block in that state.
    pub slot: u64,
    /// Accounts in use.
    pub accounts: u64,
    /// Units in no balance, as the state's header has them.
    pub pool: u64,
    group: GroupBytes,
    levels: Vec<[Hash; FAN_OUT]>,
}

/// Why a proof proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Not the wire form.
    #[error("the bytes are not a proof of version {PROOF_VERSION}")]
    Malformed,
    /// The account is beyond those in use, or the levels are not as many as those need.
    #[error("the proof has the wrong shape for account {account}")]
    Shape {
        /// Index of the account that the proof claims to be of.
        account: AccountIndex,
    },
    /// A hash does not match.
    #[error("level {level} of the proof does not hold what is below it")]
    Mismatch {
        /// 0 for the level above the groups.
        level: usize,
    },
    /// The last hash is not the root.
    #[error("the proof leads to another root")]
    Root,
}

impl AccountProof {
    /// The proof for an account in use. The tree must be up to date.
    pub(super) fn of(columns: &Columns<'_>, account: AccountIndex) -> AccountProof {
        let header = columns.header;
        let laid_out = levels(columns.hot.len());
        let depth = levels(header.accounts as usize).len();
        let group = account as usize / GROUP;
        let mut node = group;
        let mut above = Vec::with_capacity(depth - 1);
        for level in &laid_out[..depth - 1] {
            node /= FAN_OUT;
            let children = node_bytes(&columns.tree[level.start..level.start + level.nodes], node);
            above.push(bytemuck::cast(children));
        }
        AccountProof {
            account,
            height: header.height,
            slot: header.slot,
            accounts: header.accounts,
            pool: header.pool,
            group: group_bytes(columns.key, columns.hot, group),
            levels: above,
        }
    }

    /// Checks the proof against a root that the caller trusts, and returns the account's key and fields.
    ///
    /// # Errors
    /// The first thing that does not fit.
    pub fn verify(&self, root: &Hash) -> Result<(Key, Hot), ProofError> {
        let account = self.account as usize;
        if u64::from(self.account) >= self.accounts
            || self.accounts > 1 << 32
            || levels(self.accounts as usize).len() != self.levels.len() + 1
        {
            return Err(ProofError::Shape { account: self.account });
        }
        let mut hash = group_hash(&self.group);
        let mut node = account / GROUP;
        for (level, children) in self.levels.iter().enumerate() {
            if children[node % FAN_OUT] != hash {
                return Err(ProofError::Mismatch { level });
            }
            hash = node_hash(&bytemuck::cast(*children));
            node /= FAN_OUT;
        }
        if tree::root_hash(&hash, self.height, self.slot, self.accounts, self.pool) != *root {
            return Err(ProofError::Root);
        }
        let bytes = &self.group[account % GROUP * ACCOUNT_BYTES..][..ACCOUNT_BYTES];
        Ok((bytes[..32].try_into().expect("32 bytes"), bytemuck::pod_read_unaligned(&bytes[32..])))
    }

    /// The wire form.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![PROOF_VERSION];
        out.extend_from_slice(&self.account.to_le_bytes());
        for number in [self.height, self.slot, self.accounts, self.pool] {
            out.extend_from_slice(&number.to_le_bytes());
        }
        out.extend_from_slice(&self.group);
        assert!(self.levels.len() <= LEVELS_MAX, "a proof has no more levels than whoever reads it takes");
        out.push(self.levels.len() as u8);
        self.levels.iter().for_each(|level| out.extend_from_slice(bytemuck::bytes_of(level)));
        out
    }

    /// Reads the wire form of untrusted bytes; it proves something only after [`Self::verify`].
    ///
    /// # Errors
    /// [`ProofError::Malformed`] for anything but one whole proof.
    pub fn decode(bytes: &[u8]) -> Result<AccountProof, ProofError> {
        let malformed = ProofError::Malformed;
        let (head, rest) = bytes.split_first_chunk::<HEAD_BYTES>().ok_or(malformed)?;
        let (group, rest) = rest.split_first_chunk::<{ GROUP * ACCOUNT_BYTES }>().ok_or(malformed)?;
        let (&count, rest) = rest.split_first().ok_or(malformed)?;
        if head[0] != PROOF_VERSION
            || usize::from(count) > LEVELS_MAX
            || rest.len() != usize::from(count) * FAN_OUT * 32
        {
            return Err(malformed);
        }
        let number = |i: usize| u64::from_le_bytes(head[5 + 8 * i..13 + 8 * i].try_into().expect("8 bytes"));
        Ok(AccountProof {
            account: u32::from_le_bytes(head[1..5].try_into().expect("4 bytes")),
            height: number(0),
            slot: number(1),
            accounts: number(2),
            pool: number(3),
            group: *group,
            levels: rest.chunks_exact(FAN_OUT * 32).map(bytemuck::pod_read_unaligned).collect(),
        })
    }
}
