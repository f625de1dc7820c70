//! The card of a host in the lock file of its owner: what the host says about itself.
//!
//! The card stands after the sign of life (see [`owner_files`](crate::processes::owner_files)), which is written
//! separately, so a heartbeat does not touch the card. A head with the length and a checksum of the card precedes it. A
//! card is written in place, so a reader, or a process that is killed, can leave or see a part of it. Then the checksum
//! differs, and the host counts as one without a card.
//!
//! Earlier versions of WFE read the first [`AT`] bytes of the file as text, and find the sign of life there. The head is
//! ASCII text of a fixed length, and the card begins after these bytes, so they still can.

use std::{fs::File, io, os::unix::fs::FileExt};

use wfe_core::traits::HostCard;

/// Where the card begins in the file.
pub(super) const AT: u64 = 128;
/// The length of the head, which ends where the card begins.
const HEAD: usize = 66;
/// The longest card, in bytes of JSON. A card with ten thousand definitions is shorter.
pub(super) const MAX_BYTES: usize = 1 << 20;

/// A card as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoredCard {
    /// How many cards the owner has written so far, including this one.
    pub(crate) number: u32,
    pub(crate) card: HostCard,
}

/// The bytes of the head and of the card.
pub(super) fn encode(number: u32, json: &str) -> Vec<u8> {
    let head =
        format!("card {number:>10}, {:>8} bytes, check {:016x}", json.len(), check(number, json.as_bytes()));
    let width = HEAD - 1;
    format!("{head:<width$}\n{json}\n").into_bytes()
}

/// Writes an encoded card, which replaces the earlier one.
pub(super) fn write(file: &File, encoded: &[u8]) -> io::Result<()> {
    file.write_all_at(encoded, AT - HEAD as u64)?;
    file.set_len(AT - HEAD as u64 + encoded.len() as u64)
}

/// The card in this file. `None` if the file has no complete card of this owner.
pub(super) fn read(file: &File, owner: u64) -> io::Result<Option<StoredCard>> {
    let mut bytes = vec![0; HEAD];
    let Some((number, length, expected)) = exactly(file, &mut bytes, AT - HEAD as u64)?.and_then(head) else {
        return Ok(None);
    };
    if length > MAX_BYTES {
        return Ok(None);
    }
    let mut json = vec![0; length];
    let Some(json) = exactly(file, &mut json, AT)? else { return Ok(None) };
    if check(number, json) != expected {
        return Ok(None);
    }
    // A later version of WFE may write cards of another kind.
    let card = serde_json::from_slice::<HostCard>(json).ok();
    Ok(card.filter(|card| card.owner == owner).map(|card| StoredCard { number, card }))
}

/// Fills these bytes from the file. `None` if the file ends before.
fn exactly<'a>(file: &File, bytes: &'a mut [u8], at: u64) -> io::Result<Option<&'a [u8]>> {
    match file.read_exact_at(bytes, at) {
        Ok(()) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        Err(error) => Err(error),
    }
}

/// The number, the length and the checksum in a head.
fn head(bytes: &[u8]) -> Option<(u32, usize, u64)> {
    let text = std::str::from_utf8(bytes).ok()?.strip_prefix("card ")?;
    let (number, text) = text.split_once(", ")?;
    let (length, text) = text.split_once(" bytes, check ")?;
    let check = u64::from_str_radix(text.trim_end(), 16).ok()?;
    Some((number.trim_start().parse().ok()?, length.trim_start().parse().ok()?, check))
}

/// The FNV-1a hash of a card and its number. It is the same in all versions of Rust.
fn check(number: u32, json: &[u8]) -> u64 {
    wfe_core::stable_hash(number.to_le_bytes().iter().chain(json).copied())
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    fn card(program: &str) -> HostCard {
        HostCard::new(7, program, DateTime::UNIX_EPOCH)
    }

    fn encoded(number: u32, program: &str) -> Vec<u8> {
        encode(number, &serde_json::to_string(&card(program)).unwrap())
    }

    #[test]
    fn a_card_replaces_a_longer_or_shorter_one() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(read(&file, 7).unwrap(), None);
        for (number, program) in [(1, "a"), (2, &*"long".repeat(1_000)), (u32::MAX, "Ä\n\u{1b}[31m")] {
            write(&file, &encoded(number, program)).unwrap();
            assert_eq!(read(&file, 7).unwrap(), Some(StoredCard { number, card: card(program) }));
            assert_eq!(read(&file, 8).unwrap(), None, "a card of another owner");
            assert_eq!(file.metadata().unwrap().len(), AT + (encoded(number, program).len() - HEAD) as u64);
        }
    }

    #[test]
    fn a_card_of_which_only_a_part_was_written_is_no_card() {
        let (old, new) = (encoded(1, "before"), encoded(2, "after"));
        for written in 0..new.len() {
            // Also over an earlier card, of which the rest still stands.
            for before in [&[][..], &old] {
                let file = tempfile::tempfile().unwrap();
                file.write_all_at(before, AT - HEAD as u64).unwrap();
                file.write_all_at(&new[..written], AT - HEAD as u64).unwrap();
                let found = read(&file, 7).unwrap().map(|found| found.number);
                let is_old = !before.is_empty() && new[..written] == old[..written];
                // The last byte is the end of the line.
                let is_new = written + 1 == new.len();
                let expected = if is_old { Some(1) } else { is_new.then_some(2) };
                assert_eq!(found, expected, "{written} bytes");
            }
        }
    }

    #[test]
    fn whatever_else_is_in_the_file_is_no_card() {
        let sound = encoded(1, "a");
        for at in 0..sound.len() - 1 {
            let file = tempfile::tempfile().unwrap();
            let mut bytes = sound.clone();
            bytes[at] = bytes[at].wrapping_add(0x80);
            file.write_all_at(&bytes, AT - HEAD as u64).unwrap();
            assert_eq!(read(&file, 7).unwrap(), None, "byte {at}");
        }
        let huge = encode(1, "").iter().map(|byte| *byte as char).collect::<String>();
        for text in [huge.replace("       0 bytes", "99999999 bytes"), huge, "[]".repeat(200)] {
            let file = tempfile::tempfile().unwrap();
            file.write_all_at(text.as_bytes(), AT - HEAD as u64).unwrap();
            assert_eq!(read(&file, 7).unwrap(), None, "{text}");
        }
    }
}
