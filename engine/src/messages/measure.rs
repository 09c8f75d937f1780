//! What a message becomes in memory, by passing over its bytes: known before it is decoded, and without any of it.

use crate::base::hash::Hash;
use crate::base::read::{CodecError, array, number, small};
use crate::chain::block::Prepared;
use crate::chain::block_codec::{measure_body, read_final, read_head, read_listed};
use crate::transaction::compact::{measure_item, measure_items};

/// What a message takes once it is decoded, roughly: its own length, for what it carries as it is, and its items.
///
/// # Errors
/// When it cannot be decoded, as far as one can see without accounts.
pub fn measure(whole: &[u8]) -> Result<usize, CodecError> {
    let mut bytes = whole;
    let bytes = &mut bytes;
    let [tag] = array(bytes)?;
    let items = match tag {
        0 => measure_item(bytes)?,
        1 => {
            let (_height, _slot, _shard) = (number(bytes)?, number(bytes)?, small(bytes)?);
            match array(bytes)? {
                [4] => measure_items(bytes, usize::MAX)?,
                _ => 0,
            }
        }
        2 => {
            let head = read_head(bytes)?;
            measure_body(&head, bytes)?
        }
        // A list of hashes, each of them a byte at least on its way; what else there is has a fixed size.
        4..=7 => size_of::<Prepared>() + bytes.len() * size_of::<Option<Hash>>(),
        8 => {
            let decided = read_final(bytes)?;
            let blocks = read_listed(&decided, bytes, |head, bytes| measure_body(&head, bytes))?;
            let headers = decided.value.headers.len() * size_of::<Option<Hash>>();
            headers + blocks.iter().sum::<usize>()
        }
        10 => {
            array::<{ size_of::<Hash>() }>(bytes)?;
            measure_items(bytes, usize::MAX)?
        }
        _ => 0,
    };
    Ok(whole.len() + items)
}
