use std::{
    collections::HashMap,
    sync::{Arc, Weak},
};

use wfe_core::traits::{Claimed, Control, ControlRequest, Deaths, Fence, Owner};

/// The owners and the pending control requests of instances. They are kept in memory only, so no other
/// process knows them.
#[derive(Default)]
pub(in crate::store::base_traits) struct Ownership {
    owners: HashMap<u64, Weak<()>>,
    held: HashMap<String, Held>,
    requests: HashMap<String, ControlRequest>,
    numbers: u64,
}

struct Held {
    fence: Fence,
    owner: u64,
}

impl Ownership {
    fn number(&mut self) -> u64 {
        self.numbers += 1;
        self.numbers
    }

    pub fn register(&mut self) -> Owner {
        let (id, alive) = (self.number(), Arc::new(()));
        self.owners.retain(|_, owner| owner.strong_count() > 0);
        self.owners.insert(id, Arc::downgrade(&alive));
        Owner::new(id, alive)
    }

    /// Whether the instance has no owner that is alive.
    pub fn is_free(&self, id: &str) -> bool {
        let owner = self.held.get(id).and_then(|held| self.owners.get(&held.owner));
        owner.is_none_or(|owner| owner.strong_count() == 0)
    }

    pub fn is_held(&self, id: &str, fence: Fence) -> bool {
        self.held.get(id).is_some_and(|held| held.fence == fence)
    }

    pub fn fence(&self, id: &str) -> Fence {
        self.held.get(id).map_or(Fence(0), |held| held.fence)
    }

    pub fn owner(&self, id: &str) -> Option<u64> {
        self.held.get(id).map(|held| held.owner)
    }

    pub fn take(&mut self, id: &str, owner: &Owner) -> Claimed {
        let fence = Fence(self.number());
        self.held.insert(id.to_owned(), Held { fence, owner: owner.id() });
        // This data is lost when the process ends, so no crashes of earlier processes are known
        // here.
        Claimed { id: id.to_owned(), fence, deaths: Deaths::default() }
    }

    pub fn control(&self, id: &str) -> Option<ControlRequest> {
        self.requests.get(id).cloned()
    }

    /// The ids of the instances with a pending control request.
    pub fn requested(&self) -> Vec<String> {
        self.requests.keys().cloned().collect()
    }

    /// Stores a request in place of the pending one.
    pub fn request(&mut self, id: &str, control: Control) {
        let number = self.number();
        self.requests.insert(id.to_owned(), ControlRequest { number, control, intervention: None });
    }

    pub fn committed(&mut self, id: &str, applied: Option<u64>, release: bool) {
        if applied.is_some() {
            self.requests.remove(id);
        }
        if release {
            self.held.remove(id);
        }
    }
}
