//! Items as they travel between minters. Transactions of accounts that both sides know go compactly: indices for keys,
//! varints for numbers, some 80 bytes instead of 193; the receiver rebuilds the cells.

use super::cell::{Cell, payload_hash};
use super::item::Item;
use crate::base::ids::Key;
use crate::base::limits::{
    CELL_BYTES, ITEM_BYTES_MAX, ITEM_BYTES_MIN, ITEM_WIRE_BYTES_MIN, MESSAGE_BYTES_MAX, PAYLOAD_BYTES_MAX,
};
use crate::base::read::{CodecError, Read, array, count, number, put, slice, small};
use crate::base::varint;

/// Keys and account indices, as far as this node knows them.
pub trait Directory {
    /// The index of a key's account.
    fn index(&self, key: &Key) -> Option<u32>;
    /// The key of an account.
    fn key(&self, account: u32) -> Option<Key>;
}

/// Nobody is known: everything travels in full.
pub struct Nobody;

impl Directory for Nobody {
    fn index(&self, _: &Key) -> Option<u32> {
        None
    }

    fn key(&self, _: u32) -> Option<Key> {
        None
    }
}

const SENDER_KNOWN: u8 = 1;

const RECIPIENT_KNOWN: u8 = 2;

const WITH_PAYLOAD: u8 = 4;

/// Any other item, whole.
const WHOLE: u8 = 8;

/// What an item takes in memory beside its bytes: its id, counts, two rows of pointers while one becomes the other, and
/// what an allocator adds to both of its pieces.
const ITEM_COST: usize = 128;

pub(crate) fn put_item(item: &Item, directory: &impl Directory, out: &mut Vec<u8>) {
    // What no rule allows, and what cannot be rebuilt to the byte, travels whole.
    let regular = |cell: &Cell, payload: &[u8]| {
        cell.version == 1 && cell.reserved == 0 && cell.payload_hash == payload_hash(payload)
    };
    let Some((cell, payload)) = item.cell_and_payload().filter(|(cell, payload)| regular(cell, payload)) else {
        out.push(WHOLE);
        varint::write(out, item.length() as u64);
        item.parts().iter().for_each(|part| out.extend_from_slice(part));
        return;
    };
    let (sender, recipient) = (directory.index(&cell.sender), directory.index(&cell.recipient));
    let flag = |set: bool, flag: u8| if set { flag } else { 0 };
    out.push(
        flag(sender.is_some(), SENDER_KNOWN)
            | flag(recipient.is_some(), RECIPIENT_KNOWN)
            | flag(!payload.is_empty(), WITH_PAYLOAD),
    );
    for (account, key) in [(sender, &cell.sender), (recipient, &cell.recipient)] {
        match account {
            Some(account) => varint::write(out, u64::from(account)),
            None => put(out, key),
        }
    }
    for number in [cell.amount, cell.sequence, cell.expires_slot, u64::from(cell.kind), u64::from(cell.outputs)] {
        varint::write(out, number);
    }
    put(out, &cell.signature);
    if !payload.is_empty() {
        varint::write(out, payload.len() as u64);
        out.extend_from_slice(payload);
    }
}

fn read_whole<'b>(bytes: &mut &'b [u8]) -> Read<&'b [u8]> {
    let whole = slice(bytes, ITEM_BYTES_MAX)?;
    if whole.len() < ITEM_BYTES_MIN { Err(CodecError::Field) } else { Ok(whole) }
}

/// Passes over an item: what it becomes in memory.
pub(crate) fn measure_item(bytes: &mut &[u8]) -> Read<usize> {
    let [flags] = array(bytes)?;
    if flags == WHOLE {
        return Ok(ITEM_COST + read_whole(bytes)?.len());
    }
    for known in [SENDER_KNOWN, RECIPIENT_KNOWN] {
        if flags & known == 0 {
            array::<{ size_of::<Key>() }>(bytes)?;
        } else {
            number(bytes)?;
        }
    }
    for _ in 0..5 {
        number(bytes)?;
    }
    array::<64>(bytes)?;
    let payload = if flags & WITH_PAYLOAD != 0 { slice(bytes, PAYLOAD_BYTES_MAX)?.len() } else { 0 };
    Ok(ITEM_COST + 1 + CELL_BYTES + payload)
}

pub(crate) fn read_item(bytes: &mut &[u8], directory: &impl Directory) -> Read<Item> {
    let [flags] = array(bytes)?;
    if flags == WHOLE {
        return Ok(Item::of_bytes(read_whole(bytes)?));
    }
    if flags >= WHOLE {
        return Err(CodecError::Field);
    }
    let mut key = |known: bool| -> Read<Key> {
        if !known {
            return array(bytes);
        }
        let account = u32::try_from(number(bytes)?).map_err(|_| CodecError::Field)?;
        directory.key(account).ok_or(CodecError::UnknownAccount(account))
    };
    let (sender, recipient) = (key(flags & SENDER_KNOWN != 0)?, key(flags & RECIPIENT_KNOWN != 0)?);
    let (amount, sequence, expires_slot) = (number(bytes)?, number(bytes)?, number(bytes)?);
    let kind = u8::try_from(number(bytes)?).map_err(|_| CodecError::Field)?;
    let outputs = small(bytes)?;
    let signature = array(bytes)?;
    let payload = if flags & WITH_PAYLOAD != 0 { slice(bytes, PAYLOAD_BYTES_MAX)? } else { &[] };
    let hash = payload_hash(payload);
    let cell = Cell {
        sender,
        recipient,
        amount,
        sequence,
        expires_slot,
        version: 1,
        kind,
        outputs,
        reserved: 0,
        payload_hash: hash,
        signature,
    };
    Ok(Item::transaction(&cell, payload))
}

pub(crate) fn put_items(items: &[Item], directory: &impl Directory, out: &mut Vec<u8>) {
    varint::write(out, items.len() as u64);
    items.iter().for_each(|item| put_item(item, directory, out));
}

/// How many items follow, of so many at most.
fn read_count(bytes: &mut &[u8], most: usize) -> Read<usize> {
    count(bytes, ITEM_WIRE_BYTES_MIN, most.min(MESSAGE_BYTES_MAX / CELL_BYTES))
}

/// Passes over items, so many at most: what they become in memory.
pub(crate) fn measure_items(bytes: &mut &[u8], most: usize) -> Read<usize> {
    (0..read_count(bytes, most)?).map(|_| measure_item(bytes)).sum()
}

pub(crate) fn read_items(bytes: &mut &[u8], directory: &impl Directory, most: usize) -> Read<Vec<Item>> {
    (0..read_count(bytes, most)?).map(|_| read_item(bytes, directory)).collect()
}
