//! Blocks and certificates as they travel.

use super::block::{CertifiedBlock, Final, Prepared, SHARD_BLOCK_BYTES, ShardBlock, Value};
use crate::base::hash::Hash;
use crate::base::limits::{MESSAGE_BYTES_MAX, SHARDS_MAX};
use crate::base::read::{CodecError, Read, array, count, number, put, slice};
use crate::base::varint;
use crate::committee::statement::{decode_certificate, encode_certificate};
use crate::transaction::compact::{Directory, measure_items, put_items, read_items};
use crate::transaction::item::Items;
use std::collections::BTreeSet;
use std::sync::Arc;

pub(crate) fn put_hashes(hashes: &[Option<Hash>], out: &mut Vec<u8>) {
    varint::write(out, hashes.len() as u64);
    for hash in hashes {
        out.push(u8::from(hash.is_some()));
        hash.iter().for_each(|hash| put(out, hash));
    }
}

pub(crate) fn read_hashes(bytes: &mut &[u8]) -> Read<Vec<Option<Hash>>> {
    let count = count(bytes, 1, SHARDS_MAX + 1)?;
    let one = |_| match array(bytes)? {
        [0] => Ok(None),
        [1] => array(bytes).map(Some),
        _ => Err(CodecError::Field),
    };
    (0..count).map(one).collect()
}

pub(crate) fn put_value(value: &Value, out: &mut Vec<u8>) {
    varint::write(out, value.height);
    varint::write(out, value.slot);
    [&value.parent, &value.quilt, &value.parent_root, &value.system, &value.seed, &value.committee_next]
        .iter()
        .for_each(|hash| put(out, hash));
    put_hashes(&value.headers, out);
}

pub(crate) fn read_value(bytes: &mut &[u8]) -> Read<Arc<Value>> {
    let (height, slot) = (number(bytes)?, number(bytes)?);
    let (parent, quilt, parent_root) = (array(bytes)?, array(bytes)?, array(bytes)?);
    let (system, seed, committee_next) = (array(bytes)?, array(bytes)?, array(bytes)?);
    Ok(Arc::new(Value {
        height,
        parent,
        slot,
        headers: read_hashes(bytes)?,
        quilt,
        parent_root,
        system,
        seed,
        committee_next,
    }))
}

pub(crate) fn put_prepared(prepared: &Prepared, out: &mut Vec<u8>) {
    varint::write(out, prepared.attempt);
    varint::write(out, prepared.justified_by);
    put_value(&prepared.value, out);
    encode_certificate(&prepared.certificate, out);
}

pub(crate) fn read_prepared(bytes: &mut &[u8]) -> Read<Arc<Prepared>> {
    let (attempt, justified_by, value) = (number(bytes)?, number(bytes)?, read_value(bytes)?);
    let certificate = decode_certificate(bytes)?;
    Ok(Arc::new(Prepared { attempt, justified_by, hash: value.hash(), value, certificate }))
}

pub(crate) fn put_maybe_prepared(prepared: Option<&Arc<Prepared>>, out: &mut Vec<u8>) {
    out.push(u8::from(prepared.is_some()));
    prepared.iter().for_each(|prepared| put_prepared(prepared, out));
}

pub(crate) fn read_maybe_prepared(bytes: &mut &[u8]) -> Read<Option<Arc<Prepared>>> {
    match array(bytes)? {
        [0] => Ok(None),
        [1] => read_prepared(bytes).map(Some),
        _ => Err(CodecError::Field),
    }
}

/// Appends a final certificate with its value.
pub fn put_final(decided: &Final, out: &mut Vec<u8>) {
    varint::write(out, decided.attempt);
    put_value(&decided.value, out);
    encode_certificate(&decided.certificate, out);
}

/// Reads what [`put_final`] wrote.
///
/// # Errors
/// Bytes that are none.
pub fn read_final(bytes: &mut &[u8]) -> Result<Arc<Final>, CodecError> {
    let (attempt, value) = (number(bytes)?, read_value(bytes)?);
    let certificate = decode_certificate(bytes)?;
    Ok(Arc::new(Final { attempt, hash: value.hash(), value, certificate }))
}

/// Appends a certified shard-block.
pub fn put_block(block: &CertifiedBlock, directory: &impl Directory, out: &mut Vec<u8>) {
    varint::write(out, block.height);
    put(out, &block.block.encode());
    encode_certificate(&block.certificate, out);
    put_items(&block.items, directory, out);
    varint::write(out, block.patch.len() as u64);
    out.extend_from_slice(&block.patch);
}

/// A shard-block's header and certificate: all but its items and its patch.
pub(crate) fn read_head(bytes: &mut &[u8]) -> Read<CertifiedBlock> {
    let height = number(bytes)?;
    let block = ShardBlock::decode(&array::<SHARD_BLOCK_BYTES>(bytes)?);
    let certificate = decode_certificate(bytes)?;
    let (hash, items, patch) = (block.hash(), Items::default(), Vec::new());
    Ok(CertifiedBlock { height, block, hash, certificate, items, patch })
}

/// What follows a head: no more items than its header counts, and the patch.
pub(crate) fn read_body(
    head: CertifiedBlock,
    bytes: &mut &[u8],
    directory: &impl Directory,
) -> Read<Arc<CertifiedBlock>> {
    assert!(head.items.is_empty() && head.patch.is_empty(), "a head has no body before it is read");
    let items = read_items(bytes, directory, head.block.transactions as usize)?.into();
    let patch = slice(bytes, MESSAGE_BYTES_MAX)?.to_vec();
    Ok(Arc::new(CertifiedBlock { items, patch, ..head }))
}

/// Passes over what follows a head: what its items become in memory.
pub(crate) fn measure_body(head: &CertifiedBlock, bytes: &mut &[u8]) -> Read<usize> {
    let items = measure_items(bytes, head.block.transactions as usize)?;
    slice(bytes, MESSAGE_BYTES_MAX)?;
    Ok(items)
}

/// Shard-blocks that stand behind a final certificate, each read by `body` behind its head: only those that it lists,
/// each once, whatever their number is said to be.
pub(crate) fn read_listed<T>(
    decided: &Final,
    bytes: &mut &[u8],
    mut body: impl FnMut(CertifiedBlock, &mut &[u8]) -> Read<T>,
) -> Read<Vec<T>> {
    let mut listed: BTreeSet<Hash> = decided.value.headers.iter().flatten().copied().collect();
    let count = count(bytes, SHARD_BLOCK_BYTES, listed.len())?;
    let one = |_| {
        let head = read_head(bytes)?;
        if listed.remove(&head.listed_hash()) { body(head, bytes) } else { Err(CodecError::Field) }
    };
    (0..count).map(one).collect()
}

/// Reads what [`put_block`] wrote.
///
/// # Errors
/// Bytes that are none, or speak of accounts that the directory does not know.
pub fn read_block(bytes: &mut &[u8], directory: &impl Directory) -> Result<Arc<CertifiedBlock>, CodecError> {
    let head = read_head(bytes)?;
    read_body(head, bytes, directory)
}
