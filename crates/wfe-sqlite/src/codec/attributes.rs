//! The attributes of an instance, in the column `workflows.attributes`.
//!
//! The column also has attributes of the store's own, whose keys begin with [`OWN_NAMES`]: `wfe.ack` of a failure that an
//! operator has acknowledged. They are not among those that programs set and read, and no statement that stores those of a
//! program changes them.

use serde_json::{Map, Value};
use wfe_core::{Result, limits::check_attributes, traits::OWN_NAMES};

use super::Fields;

const COLUMN: &str = "attributes";

/// The text of the attributes that a program has set.
///
/// # Errors
/// The errors of [`check_attributes`].
pub(crate) fn encode(attributes: &Map<String, Value>) -> Result<String> {
    check_attributes(attributes)?;
    Ok(serde_json::to_string(attributes)?)
}

/// The next column of a row of `workflows`: the attributes that programs have set.
pub(crate) fn decode(fields: &mut Fields<'_>) -> Result<Map<String, Value>> {
    let mut all: Map<String, Value> = fields.optional_json(COLUMN)?.unwrap_or_default();
    all.retain(|key, _| !key.starts_with(OWN_NAMES));
    match all.iter().find(|(_, value)| value.is_null() || value.is_array() || value.is_object()) {
        None => Ok(all),
        Some((key, _)) => {
            Err(fields.corrupt(COLUMN, format!("{key:?} is neither a text nor a number nor a boolean"), None))
        }
    }
}
