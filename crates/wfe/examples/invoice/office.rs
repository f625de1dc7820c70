//! The external systems: a register of suppliers, a budget and a ledger. They print what they do.

use std::sync::Arc;

use chrono::{DateTime, TimeZone, Utc};
use wfe::{clock::Clock, prelude::*};

#[derive(Clone)]
pub struct Office {
    clock: Arc<dyn Clock>,
}

/// The code of the failure while the ledger is closed.
pub const LEDGER_CLOSED: &str = "ledger-closed";

#[expect(clippy::unused_self, clippy::unnecessary_wraps, reason = "those of a real office ask other systems")]
impl Office {
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock }
    }

    /// Checks a supplier. The register of foreign suppliers succeeds at the second attempt.
    pub fn check(&self, supplier: &str, attempt: u32) -> Result<(), StepError> {
        if supplier.ends_with("Ltd") && attempt == 1 {
            return Err("the register is busy")?;
        }
        println!("  register: knows {supplier}");
        Ok(())
    }

    pub fn reserve(&self, invoice: &str, cents: u64) -> Result<(), StepError> {
        println!("  budget: {cents} cents are reserved for {invoice}");
        Ok(())
    }

    pub fn release(&self, invoice: &str) -> Result<(), StepError> {
        println!("  budget: what was reserved for {invoice} is free again");
        Ok(())
    }

    pub fn recall(&self, transfer: &str) -> Result<(), StepError> {
        println!("  bank: {transfer} is recalled");
        Ok(())
    }

    /// Books an invoice. While the ledger is closed, this fails, and another attempt makes no sense.
    pub fn book(&self, invoice: &str) -> Result<(), StepError> {
        let opens = Self::ledger_opens();
        if invoice == "invoice-3" && self.clock.now() < opens {
            let why = format!("the ledger of {invoice} is closed until {opens}");
            return Err(StepError::fatal(why).with_code(LEDGER_CLOSED));
        }
        println!("  ledger: {invoice} is booked");
        Ok(())
    }

    /// When the accountant opens the ledger.
    pub fn ledger_opens() -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2030, 1, 7, 8, 0, 0).single().unwrap_or_default()
    }
}
