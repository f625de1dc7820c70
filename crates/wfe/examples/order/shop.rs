//! The external systems: a warehouse, a bank and a carrier. They print what they do.

use wfe::prelude::*;

#[derive(Clone)]
pub struct Shop;

#[expect(clippy::unused_async, reason = "those of a real shop wait for the network")]
impl Shop {
    pub async fn reserve(&self, order: &str) -> Result<(), StepError> {
        println!("  warehouse: {order} is reserved");
        Ok(())
    }

    pub async fn release(&self, order: &str) -> Result<(), StepError> {
        println!("  warehouse: {order} is back on the shelf");
        Ok(())
    }

    /// Charges the order and returns a receipt. A large amount succeeds at the second attempt.
    pub async fn charge(
        &self,
        _key: &str,
        order: &str,
        cents: u64,
        attempt: u32,
    ) -> Result<String, StepError> {
        if cents > 20_000 && attempt == 1 {
            return Err("the bank is busy")?;
        }
        println!("  bank: {cents} cents for {order}");
        Ok(format!("receipt of {order}"))
    }

    pub async fn refund(&self, receipt: &str) -> Result<(), StepError> {
        println!("  bank: pays back {receipt}");
        Ok(())
    }

    pub async fn ship(&self, order: &str, address: &str) -> Result<(), StepError> {
        if address == "the moon" {
            return Err(StepError::fatal(format!("no carrier delivers to {address}")).with_code("no-route"));
        }
        println!("  carrier: {order} goes to {address}");
        Ok(())
    }
}
