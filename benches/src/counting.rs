//! What the counting allocator saw. It is installed by the program that counts, and counts all
//! threads.

use stats_alloc::INSTRUMENTED_SYSTEM;

/// How often memory was asked for, growing a piece in place included.
pub(crate) fn allocations() -> usize {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.allocations + stats.reallocations
}

/// How many bytes are in use, as they were asked for: what the allocator adds is its own.
pub(crate) fn live_bytes() -> f64 {
    let stats = INSTRUMENTED_SYSTEM.stats();
    stats.bytes_allocated as f64 - stats.bytes_deallocated as f64
}
