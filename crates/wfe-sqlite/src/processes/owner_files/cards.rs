//! Writes and reads the cards in the lock files of the owners.

use std::{fs::File, io};

use wfe_core::{Result, WfeError, traits::HostCard};

use super::{OwnerFile, OwnerFiles, Unlocked, failed, read_sign};
use crate::{
    file::sidecars::is_refusal,
    processes::host_card::{self, StoredCard},
};

impl OwnerFiles {
    /// Writes the card of an owner.
    pub(crate) fn describe(&self, id: u64, card: &HostCard) -> Result<()> {
        let json = serde_json::to_string(card)?;
        if json.len() > host_card::MAX_BYTES {
            return Err(WfeError::Unstorable {
                what: format!("the card of owner {id}"),
                reason: format!("it has {} bytes; the limit is {}", json.len(), host_card::MAX_BYTES),
                source: None,
            });
        }
        if let Some(file) = self.held(id) {
            return file.describe(&json);
        }
        let path = self.path(id);
        let file = self.sidecars.open(&path).map_err(|error| failed("open", &path, error))?;
        let number = next_number(&file, id).map_err(|error| failed("read", &path, error))?;
        host_card::write(&file, &host_card::encode(number, &json))
            .map_err(|error| failed("write", &path, error))
    }

    /// The card of an owner. `None` means that it has no complete card, or that reading failed.
    pub(crate) fn card(&self, id: u64) -> Option<StoredCard> {
        let path = self.path(id);
        let read = match self.sidecars.open(&path) {
            Ok(file) => host_card::read(&file, id),
            Err(error) if error.kind() == io::ErrorKind::NotFound || is_refusal(&error) => Ok(None),
            Err(error) => Err(error),
        };
        read.unwrap_or_else(|error| {
            self.report_unreadable(id, &failed("read", &path, error));
            None
        })
    }

    /// All owners that have a lock file, each with whether it is alive, in the order of their ids. An owner whose file cannot
    /// be checked has `None`.
    pub(crate) fn all(&self) -> Result<Vec<(u64, Option<bool>)>> {
        let mut all = Vec::new();
        self.check_all(|id, unlocked| {
            let is_alive = match unlocked {
                Ok(Unlocked::No) => Some(true),
                Ok(Unlocked::Yes(file)) => match read_sign(&file, &self.path(id)) {
                    Ok(Some(_)) => Some(false),
                    // The file is no owner's.
                    Ok(None) => return,
                    Err(_) => None,
                },
                Ok(Unlocked::Missing) => return,
                Err(_) => None,
            };
            all.push((id, is_alive));
        })?;
        all.sort_unstable();
        Ok(all)
    }
}

impl OwnerFile {
    fn describe(&self, json: &str) -> Result<()> {
        let mut held = self.checked_file()?;
        let number = next_number(&held.file, self.id).map_err(|error| failed("read", &self.path, error))?;
        let encoded = host_card::encode(number, json);
        host_card::write(&held.file, &encoded).map_err(|error| failed("write", &self.path, error))?;
        held.card = Some(encoded);
        if held.not_put_back.is_some() { Err(self.lost(&held)) } else { Ok(()) }
    }
}

/// The number of the next card in this file. Another provider of this process may have written the last one.
fn next_number(file: &File, owner: u64) -> io::Result<u32> {
    Ok(host_card::read(file, owner)?.map_or(0, |last| last.number).wrapping_add(1))
}
