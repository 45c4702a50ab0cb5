//! What an earlier process left unfinished: looked at before the database is opened.
//!
//! Commits stand in the write-ahead log until they are moved into the database file. The engine reads it
//! up to the first frame whose checksum is wrong and forgets the rest, which is right for a commit that
//! was not written to its end, and wrong for damage in the middle. The form of the file is fixed
//! (<https://www.sqlite.org/fileformat2.html#the_write_ahead_log>), so the two are told apart here: where
//! every commit is synced before the next begins, a whole commit behind a wrong frame means damage.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use crate::error::OpenError;
use crate::options::ArchiveDurability;

const HEADER: usize = 32;
const FRAME_HEADER: usize = 24;
const MAGIC: u32 = 0x377F_0682;

/// What was cut off when an archive was opened: commits that were not written to their end, none of which
/// had been acknowledged under the durability of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// Pages of whole commits that were found in the write-ahead log and are kept.
    pub kept_pages: u64,
    /// Pages behind them that are cut off.
    pub cut_pages: u64,
}

/// Looks through the write-ahead log. Its header is synced before anything is written behind it, so that
/// one generation is never found half overwritten by the next.
pub(crate) fn check(path: &Path, durability: ArchiveDurability) -> Result<Recovery, OpenError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Recovery::default()),
        Err(source) => {
            return Err(OpenError::Io {
                path: path.to_owned(),
                source,
            });
        }
    };
    let walk = walk(BufReader::with_capacity(1 << 18, file)).map_err(|source| OpenError::Io {
        path: path.to_owned(),
        source,
    })?;
    match walk.damage {
        Some(frame) if durability == ArchiveDurability::Fsync => Err(OpenError::Damaged {
            path: path.to_owned(),
            place: format!("frame {frame}, with whole commits behind it"),
        }),
        _ => Ok(walk.recovery),
    }
}

/// What is kept of a write-ahead log of these bytes, for fuzz targets.
#[cfg(fuzzing)]
#[doc(hidden)]
#[must_use]
pub fn read_wal(bytes: &[u8]) -> Recovery {
    walk(bytes).map(|walk| walk.recovery).unwrap_or_default()
}

#[derive(Debug, Default)]
struct Walk {
    recovery: Recovery,
    /// The first wrong frame, if a commit was completed behind it and the next one begun.
    damage: Option<u64>,
}

/// The frames of a generation have the salt of the header; what an older generation left has not.
fn walk(mut file: impl Read) -> io::Result<Walk> {
    let mut walk = Walk::default();
    let mut header = [0; HEADER];
    if !fill(&mut file, &mut header)? {
        return Ok(walk);
    }
    let word = |bytes: &[u8], at: usize| {
        let mut word = [0; 4];
        word.copy_from_slice(&bytes[at..at + 4]);
        u32::from_be_bytes(word)
    };
    let magic = word(&header, 0);
    let page = word(&header, 8) as usize;
    if magic & !1 != MAGIC || !page.is_power_of_two() || !(512..=65_536).contains(&page) {
        return Ok(walk);
    }
    let big_endian = magic & 1 == 1;
    let salt = header[16..24].to_owned();
    let mut sum = Checksum {
        big_endian,
        value: (0, 0),
    };
    sum.add(&header[..24]);
    if sum.value != (word(&header, 24), word(&header, 28)) {
        return Ok(walk);
    }
    let mut frame = vec![0; FRAME_HEADER + page];
    let mut index = 0;
    // The first frame that is wrong, and whether the one before this is the whole end of a commit behind it.
    let mut wrong: Option<u64> = None;
    let mut commit_behind = false;
    let mut uncommitted = 0;
    while fill(&mut file, &mut frame)? {
        let is_commit = word(&frame, 4) != 0;
        let is_of_this_generation = frame[8..16] == salt;
        sum.add(&frame[..8]);
        sum.add(&frame[FRAME_HEADER..]);
        let told = (word(&frame, 16), word(&frame, 20));
        let is_whole = is_of_this_generation && sum.value == told;
        if wrong.is_none() && is_whole {
            uncommitted += 1;
            if is_commit {
                walk.recovery.kept_pages += uncommitted;
                uncommitted = 0;
            }
        } else {
            if is_of_this_generation {
                walk.recovery.cut_pages += 1;
            }
            if commit_behind && is_whole {
                walk.damage = wrong;
            }
            // The header of a frame may be torn, its mark that of an older generation, and what was
            // rolled back lies about behind the last commit: only frames that follow from one another count.
            commit_behind = wrong.is_some() && is_whole && is_commit;
            wrong = wrong.or(Some(index));
            sum.value = told;
        }
        index += 1;
    }
    walk.recovery.cut_pages += uncommitted;
    Ok(walk)
}

/// Fills the buffer; `false` at the end of the file, which may be in its midst.
fn fill(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

/// The running checksum of the file: over all that came before.
struct Checksum {
    big_endian: bool,
    value: (u32, u32),
}

impl Checksum {
    fn add(&mut self, bytes: &[u8]) {
        let (mut a, mut b) = self.value;
        for pair in bytes.chunks_exact(8) {
            let word = |at: usize| {
                let mut word = [0; 4];
                word.copy_from_slice(&pair[at..at + 4]);
                match self.big_endian {
                    true => u32::from_be_bytes(word),
                    false => u32::from_le_bytes(word),
                }
            };
            a = a.wrapping_add(word(0)).wrapping_add(b);
            b = b.wrapping_add(word(4)).wrapping_add(a);
        }
        self.value = (a, b);
    }
}
