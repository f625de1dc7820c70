//! Steps as an engine commits them.

use wfe_bench_workloads::{
    Done,
    ability::{Instances, Steps},
};

use crate::{instance::Instance, store::Ceiling};

impl Steps for Ceiling {
    type Owned = Instance;

    async fn begin(&self, number: u64) -> Done<Instance> {
        let mut instance = Self::draft(number, 1);
        self.create(&mut instance).await?;
        Ok(instance)
    }

    async fn commit(&self, owned: &mut Instance) -> Done {
        let mut stepped = owned.clone();
        stepped.step();
        self.persist(&mut stepped).await?;
        *owned = stepped;
        Ok(())
    }

    fn committed(owned: &Instance) -> usize {
        owned.pointers.len() - 1
    }

    async fn is_stored(&self, owned: &Instance, or_more: bool) -> Done<bool> {
        let found = self.load(&owned.id).await?;
        let (kept, _) = owned.pointers.split_at(owned.pointers.len() - 1);
        let is_next = found.pointers.len() == owned.pointers.len() + 1 && found.pointers.starts_with(kept);
        Ok(found == *owned || (or_more && is_next))
    }
}
