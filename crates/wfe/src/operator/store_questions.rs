//! Questions about events, waits, definitions, hosts, records of actions, and numbers.

use std::{collections::BTreeMap, time::Duration};

use wfe_core::{
    Result, WfeError,
    definition::Outline,
    traits::{
        AuditFilter, AuditRecord, Cursor, EndedCount, EventFilter, Host, MAX_PAGE, OpenCount, OpenWait, Page,
        StepCount, StoreStatistics, StoredEvent, TaskCount, TimeRange, WaitFilter, Window,
    },
};

use super::{DefinitionView, EventView, Operator};

/// How long hosts have to write their cards anew.
const FRESH: Duration = Duration::from_millis(200);

impl Operator {
    /// A page of the stored events that the filter selects, newest first.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): the filter has a key but no name.
    pub async fn events(
        &self,
        filter: &EventFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<StoredEvent>> {
        let mut page = self.seen(self.management.events(filter, after, limit.min(MAX_PAGE)).await)?;
        page.rows.iter_mut().for_each(|event| self.hide_event(event));
        Ok(page)
    }

    /// A page of the open waits that the filter selects, oldest first. `None` selects all.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn waits(
        &self,
        filter: Option<&WaitFilter>,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<OpenWait>> {
        let mut page = self.seen(self.management.waits(filter, after, limit.min(MAX_PAGE)).await)?;
        page.rows.iter_mut().for_each(|wait| self.hide_wait(wait));
        Ok(page)
    }

    /// Who waits for the event with this name and key, and which events with them are stored: up to `limit` of each.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn waiting_for(&self, name: &str, key: &str, limit: usize) -> Result<EventView> {
        let (name, key) = (name.to_owned(), key.to_owned());
        let filter = WaitFilter::Event { name: name.clone(), key: Some(key.clone()) };
        let waits = self.waits(Some(&filter), None, limit).await?.rows;
        let filter =
            EventFilter { name: Some(name.clone()), key: Some(key.clone()), ..EventFilter::default() };
        let stored = self.events(&filter, None, limit).await?.rows;
        Ok(EventView { name, key, waits, stored })
    }

    /// The definitions, as hosts have stored their outlines and as open instances need them, by id and version.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn definitions(&self) -> Result<Vec<DefinitionView>> {
        let mut views = BTreeMap::<(String, u32), DefinitionView>::new();
        let view = |id: &str, version| DefinitionView {
            id: id.to_owned(),
            version,
            first_stored: None,
            outlines: 0,
            hosts: Vec::new(),
            open: Vec::new(),
        };
        for stored in self.seen(self.management.outlines(None).await)? {
            let (id, version) = (&stored.outline.id, stored.outline.version);
            let of = views.entry((id.clone(), version)).or_insert_with(|| view(id, version));
            of.outlines += 1;
            of.first_stored = Some(of.first_stored.map_or(stored.time, |first| first.min(stored.time)));
        }
        for host in self.hosts().await? {
            let Some(card) = host.card.filter(|_| host.is_alive != Some(false)) else { continue };
            for (id, version) in card.definitions {
                let of = views.entry((id.clone(), version)).or_insert_with(|| view(&id, version));
                of.hosts.push(host.owner);
            }
        }
        for count in self.open_counts().await? {
            let (id, version) = (&count.definition, count.version);
            let of = views.entry((id.clone(), version)).or_insert_with(|| view(id, version));
            of.open.push(count);
        }
        Ok(views.into_values().collect())
    }

    /// The outline of this version of a definition, or of its newest version: the one that a host has stored last.
    ///
    /// # Errors
    /// [`OutlineNotFound`](WfeError::OutlineNotFound): no host has stored an outline of this definition.
    pub async fn outline(&self, definition: &str, version: Option<u32>) -> Result<Outline> {
        self.newest_outline(definition, version).await?.ok_or_else(|| WfeError::OutlineNotFound {
            id: definition.to_owned(),
            version: version.unwrap_or(0),
        })
    }

    pub(super) async fn newest_outline(
        &self,
        definition: &str,
        version: Option<u32>,
    ) -> Result<Option<Outline>> {
        let outlines = self.seen(self.management.outlines(Some(definition)).await)?;
        let fitting =
            outlines.into_iter().filter(|it| version.is_none_or(|version| it.outline.version == version));
        let newest = fitting.max_by_key(|it| (it.outline.version, it.cursor));
        Ok(newest.map(|it| it.outline))
    }

    /// The newest version of which the store has an outline.
    pub(super) async fn newest_version(&self, definition: &str) -> Result<Option<u32>> {
        Ok(self.newest_outline(definition, None).await?.map(|outline| outline.version))
    }

    /// How many live execution pointers of the open instances of this version stand at each step.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn step_counts(&self, definition: &str, version: u32) -> Result<Window<StepCount>> {
        self.seen(self.management.step_counts(definition, version).await)
    }

    /// The hosts on this store, in any process, and what they say about themselves now. Hosts are asked, and have 200 ms
    /// to answer; the card of a host that does not answer is the one that it wrote before.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn hosts(&self) -> Result<Vec<Host>> {
        self.store.hosts(FRESH).await
    }

    /// A page of the recorded actions that the filter selects, newest first.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn audit(
        &self,
        filter: &AuditFilter,
        after: Option<Cursor>,
        limit: usize,
    ) -> Result<Page<AuditRecord>> {
        self.seen(self.management.audit(filter, after, limit.min(MAX_PAGE)).await)
    }

    /// The numbers of all open instances, by definition, version and state.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn open_counts(&self) -> Result<Vec<OpenCount>> {
        self.seen(self.management.open_counts(self.now()).await)
    }

    /// The numbers of open activities, user tasks and waits for children, by the name of their event.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn task_counts(&self) -> Result<Vec<TaskCount>> {
        self.seen(self.management.task_counts().await)
    }

    /// The numbers of instances that ended in each interval of length `step`, by definition and ending.
    ///
    /// # Errors
    /// [`Invalid`](WfeError::Invalid): the range has no beginning or no end, `step` is shorter than a second, or the range
    /// has more than 1 000 intervals.
    pub async fn ended_counts(&self, range: TimeRange, step: Duration) -> Result<Vec<EndedCount>> {
        self.seen(self.management.ended_counts(range, step).await)
    }

    /// How large the store is.
    ///
    /// # Errors
    /// The errors of the store.
    pub async fn statistics(&self) -> Result<StoreStatistics> {
        self.seen(self.management.statistics().await)
    }
}
