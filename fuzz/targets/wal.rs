//! A write-ahead log is looked through, whatever it holds, and no more is kept than is there.

#![no_main]

use libfuzzer_sys::fuzz_target;
use reveille_archive::read_wal;

fuzz_target!(|data: &[u8]| {
    let found = read_wal(data);
    assert!((found.kept_pages + found.cut_pages) * 512 <= data.len() as u64);
});
