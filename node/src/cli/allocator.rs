//! The allocator of the process, and how it is set.

/// Blocks come and go by the hundred thousand small pieces: the system's allocator gives their pages back to the kernel
/// and has them cleared again, which cost a node a sixth of its time.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// What is freed in one slot is used again in the next: it is not given back in between. Few arenas, since what one
/// thread of a node allocates another frees. Large pieces go the same way: by default they would be given back at once.
#[allow(non_upper_case_globals, reason = "the name that the allocator looks for")]
#[unsafe(export_name = "_rjem_malloc_conf")]
pub(crate) static malloc_conf: &[u8] = b"dirty_decay_ms:30000,muzzy_decay_ms:0,narenas:4,oversize_threshold:0\0";
