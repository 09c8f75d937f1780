//! The layouts of all files, printed from the very types that read and write them: what `docs/storage.md` shows.

use super::index::{ENTRY_BYTES, Entry};
use super::page::{FORMAT_VERSION, HEAD_BYTES, PAGE_BYTES, PageHead};
use super::paged::{PagedBody, REGIONS_MAX, RegionEntry};
use super::record::{RECORD_HEAD_BYTES, RecordHead};
use super::segment::{LogPoint, RECORDS_OFFSET};
use super::superblock::Present;
use std::fmt::Write;
use std::mem::offset_of;

macro_rules! fields {
    ($out:expr, $base:expr, $type:ty { $($field:ident: $what:expr),+ $(,)? }) => {{
        $( let _ = writeln!(
            $out, "  {:>5}  {:<16} {}", $base + offset_of!($type, $field), stringify!($field), $what
        ); )+
    }};
}

/// All layouts as text, a file after the other, fields in order of their offsets.
pub fn layout_text() -> String {
    let mut out = format!("format version {FORMAT_VERSION}, pages of {PAGE_BYTES} bytes, numbers little endian\n");
    let _ = writeln!(out, "\nevery header page\n offset  field");
    fields!(
        out,
        0,
        PageHead {
            magic: "8 bytes, by kind of file",
            version: "u32",
            reserved: "u32, zero",
            checksum: "BLAKE3 of the page with this field zero",
            chain: "genesis hash of the chain",
        }
    );
    let _ = writeln!(out, "  {HEAD_BYTES:>5}  (what follows depends on the file; zeros up to {PAGE_BYTES})");
    let _ = writeln!(out, "\nsuperblock: 2 copies, a page each; magic DYNXSUP");
    fields!(
        out,
        HEAD_BYTES,
        Present {
            sequence: "u64; parity = which copy",
            image: "u64: 0 or 1",
            record: "u64: the last record in the image",
            image_checksum: "of the image's header page",
            chained: "running checksum of the log after that record",
        }
    );
    let _ = writeln!(out, "\nimage.0, image.1 (magic DYNXIMG) and index.N (magic DYNXIDX)");
    fields!(
        out,
        HEAD_BYTES,
        PagedBody {
            regions: "u32",
            pages: "u32: data pages behind the header",
            number: "u64: image: its record; index: N",
            top: "BLAKE3 of the checksums' top page",
            table: format!("{REGIONS_MAX} entries of {} bytes", size_of::<RegionEntry>()),
        }
    );
    let _ = writeln!(out, "  a region's entry");
    fields!(out, 0, RegionEntry { name: "16 bytes", offset: "u64, a page boundary", bytes: "u64" });
    let _ = writeln!(
        out,
        "  {PAGE_BYTES:>5}  the regions, each from a page boundary, then 128 checksums a page, level by level, \
         the top last"
    );
    let _ = writeln!(
        out,
        "\nindex.N: regions offsets (u64 a record), transactions, accounts (entries of {ENTRY_BYTES} bytes, sorted)"
    );
    fields!(
        out,
        0,
        Entry { key: "first half of the 32-byte key", record: "u32: from N", place: "u32: within the record" }
    );
    let _ = writeln!(out, "\nlog.N: magic DYNXLOG; a second header page, magic DYNXMRK, holds the mark");
    fields!(
        out,
        HEAD_BYTES,
        LogPoint {
            number: "u64: first record; in the mark: newest synced one",
            chained: "running checksum before it; in the mark: after it",
        }
    );
    let _ = writeln!(out, "  {RECORDS_OFFSET:>5}  records, each from a multiple of 8");
    fields!(
        out,
        0,
        RecordHead {
            magic: "DREC",
            bytes: "u32: of the payload",
            number: "u64",
            checksum: "BLAKE3(checksum before | number | bytes | payload)",
        }
    );
    let _ = writeln!(out, "  {RECORD_HEAD_BYTES:>5}  payload, zeros up to 8");
    out
}
