//! Header pages: what every file of a store begins with.
//!
//! ```text
//!   magic 8 | version u32 | 0 u32 | checksum 32 | chain 32 | what the file adds | zeros up to 4096
//! ```
//!
//! The checksum is the BLAKE3 hash of the whole page with the checksum's own place zero.

use crate::disk::{NamedFile, StoreError};
use bytemuck::{Pod, Zeroable};
use std::mem::offset_of;

/// Bytes of a page.
pub const PAGE_BYTES: u64 = 4096;
/// Version of every file.
pub const FORMAT_VERSION: u32 = 2;

/// Whose store it is: the chain's genesis hash.
pub type ChainId = [u8; 32];
/// A BLAKE3 hash.
pub(crate) type Sum = [u8; 32];
/// A page's bytes.
pub(crate) type Page = [u8; PAGE_BYTES as usize];

/// What every header page begins with.
#[repr(C)]
#[derive(Clone, Copy, Pod, Zeroable)]
pub(crate) struct PageHead {
    pub(crate) magic: [u8; 8],
    pub(crate) version: u32,
    pub(crate) reserved: u32,
    pub(crate) checksum: Sum,
    pub(crate) chain: ChainId,
}
const _: () = {
    assert!(size_of::<PageHead>() == 8 + 4 + 4 + 32 + 32, "padding or another size");
    assert!(align_of::<PageHead>() == 4);
    assert!(offset_of!(PageHead, magic) == 0);
    assert!(offset_of!(PageHead, version) == 8);
    assert!(offset_of!(PageHead, reserved) == 12);
    assert!(offset_of!(PageHead, checksum) == 16);
    assert!(offset_of!(PageHead, chain) == 48);
};
pub(crate) const HEAD_BYTES: usize = size_of::<PageHead>();

/// A header page as it was read and found whole.
pub(crate) struct OpenedPage<T> {
    pub(crate) body: T,
    pub(crate) chain: ChainId,
    pub(crate) checksum: Sum,
}

fn checksum(page: &Page) -> Sum {
    let mut page = *page;
    page[offset_of!(PageHead, checksum)..][..32].fill(0);
    *blake3::hash(&page).as_bytes()
}

/// The page with this body, and its checksum.
pub(crate) fn seal<T: Pod>(magic: [u8; 8], chain: ChainId, body: &T) -> (Page, Sum) {
    const { assert!(HEAD_BYTES + size_of::<T>() <= PAGE_BYTES as usize) };
    let mut page = [0; PAGE_BYTES as usize];
    let mut head = PageHead { magic, version: FORMAT_VERSION, reserved: 0, checksum: [0; 32], chain };
    page[..HEAD_BYTES].copy_from_slice(bytemuck::bytes_of(&head));
    page[HEAD_BYTES..][..size_of::<T>()].copy_from_slice(bytemuck::bytes_of(body));
    head.checksum = checksum(&page);
    page[..HEAD_BYTES].copy_from_slice(bytemuck::bytes_of(&head));
    (page, head.checksum)
}

/// Reads the header page at `offset` and checks magic, version, checksum and, where one is given, the chain.
pub(crate) fn open<T: Pod>(
    file: &NamedFile,
    offset: u64,
    magic: [u8; 8],
    chain: Option<&ChainId>,
) -> Result<OpenedPage<T>, StoreError> {
    let bytes = file.bytes()?;
    if bytes < offset + PAGE_BYTES {
        return Err(file.damaged(bytes, format!("the file ends after {bytes} bytes, inside a header")));
    }
    let mut page = [0; PAGE_BYTES as usize];
    file.read(offset, &mut page)?;
    let head: PageHead = *bytemuck::from_bytes(&page[..HEAD_BYTES]);
    if head.magic != magic {
        return Err(file.damaged(offset, "this is not the header of such a file"));
    }
    if head.version != FORMAT_VERSION {
        let mut as_ours = page;
        as_ours[offset_of!(PageHead, version)..][..4].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        if checksum(&as_ours) == head.checksum {
            return Err(file.damaged(offset + offset_of!(PageHead, version) as u64, "the version number has changed"));
        }
        return Err(StoreError::Version { path: file.path.clone(), found: head.version, expected: FORMAT_VERSION });
    }
    if checksum(&page) != head.checksum {
        return Err(file.damaged(offset, "the header's checksum is wrong"));
    }
    if chain.is_some_and(|chain| *chain != head.chain) {
        return Err(StoreError::WrongChain { path: file.path.clone() });
    }
    Ok(OpenedPage {
        body: bytemuck::pod_read_unaligned(&page[HEAD_BYTES..HEAD_BYTES + size_of::<T>()]),
        chain: head.chain,
        checksum: head.checksum,
    })
}
