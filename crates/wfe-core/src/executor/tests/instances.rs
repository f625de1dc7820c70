use std::{
    collections::{BTreeMap, HashMap},
    rc::Rc,
};

use super::{
    scenario::End,
    world::{Step, World},
};
use crate::definition::{AnyDefinition, Data, Registry};

/// Several instances in one store: a parent, and the child workflows that it starts.
pub struct Instances {
    pub worlds: BTreeMap<String, World>,
    /// For each world, the number of commits that `look_around` has already handled.
    seen: HashMap<String, usize>,
    /// The process dies right after this many commits, counted over all instances.
    pub dies_after: Option<usize>,
}

impl Instances {
    /// Creates the parent from the first definition. All definitions are registered.
    pub fn new<D: Data>(definitions: &[AnyDefinition], data: &D) -> Self {
        let mut registry = Registry::default();
        for definition in definitions {
            registry.register(definition.clone()).unwrap();
        }
        let mut parent = World::new(&definitions[0], data);
        parent.registry = Rc::new(registry);
        Self { worlds: BTreeMap::from([("it".to_owned(), parent)]), seen: HashMap::new(), dies_after: None }
    }

    pub fn parent(&mut self) -> &mut World {
        self.worlds.get_mut("it").unwrap()
    }

    pub fn commits(&self) -> usize {
        self.worlds.values().map(|world| world.commits.len()).sum()
    }

    /// Creates the child workflows that new commits contain, and passes on control requests to them.
    pub fn look_around(&mut self) {
        let (mut made, mut asked) = (Vec::new(), Vec::new());
        for (id, world) in &self.worlds {
            let seen = self.seen.entry(id.clone()).or_default();
            for commit in &world.commits[*seen..] {
                for child in &commit.created {
                    let definition = world.registry.get(&child.workflow_definition_id, child.version);
                    let mut new = World::with_instance(definition.unwrap(), child.clone(), world.now);
                    new.parent = Some(id.clone());
                    new.stream = world.stream.clone();
                    new.registry = world.registry.clone();
                    made.push((child.id.clone(), new));
                }
                asked.extend(commit.requested.clone());
            }
            *seen = world.commits.len();
        }
        for (id, world) in made {
            self.worlds.entry(id).or_insert(world);
        }
        for (id, control) in asked {
            let world = self.worlds.get_mut(&id).expect("a child that was made");
            if !world.instance.status.is_final() {
                world.asks.push((world.now, control));
            }
        }
    }

    pub fn play(&mut self) {
        self.play_with(|_| Step::Finish(1));
    }

    pub fn play_with(&mut self, mut choose: impl FnMut(usize) -> Step) {
        loop {
            let before = self.commits();
            let dies_after = self.dies_after.filter(|at| *at > before);
            let mut acted = false;
            for world in self.worlds.values_mut() {
                // One pass at a time, so that the process can die between any two commits.
                world.dies_after = dies_after.map(|at| world.commits.len() + at - before);
                acted = world.act(&mut choose);
                if acted {
                    break;
                }
                world.hear();
            }
            self.look_around();
            if dies_after.is_some_and(|at| self.commits() >= at) {
                self.worlds.values_mut().for_each(World::crash);
                continue;
            }
            if acted || self.commits() != before {
                continue;
            }
            let Some(next) = self.worlds.values().filter_map(World::next_time).min() else { return };
            self.worlds.values_mut().for_each(|world| world.now = world.now.max(next));
        }
    }

    pub fn ends(&self) -> BTreeMap<String, End> {
        self.worlds.iter().map(|(id, world)| (id.clone(), End::of(world))).collect()
    }
}

/// Like [`everywhere`](super::scenario::everywhere), but for several instances.
pub fn everywhere(make: impl Fn() -> Instances) -> Instances {
    let mut whole = make();
    whole.play();
    let ends = whole.ends();
    for dies_after in 1..=whole.commits() {
        let mut instances = make();
        instances.dies_after = Some(dies_after);
        instances.play();
        assert_eq!(instances.ends(), ends, "when the process died after commit {dies_after}");
    }
    whole
}
