//! What every node has to know of incidents, as part of the snapshot: who is shut out, and which playbooks run.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use uuid::Uuid;

use super::{Bar, IncidentError, IncidentRecord, core::State};

/// Incidents that are not over at most.
const INCIDENTS_MAX: usize = 1_000;

/// Incidents that are not over, cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    incidents: Arc<BTreeMap<Uuid, Arc<IncidentRecord>>>,
    bars: Arc<BTreeSet<Bar>>,
}

impl Standing {
    /// From what was loaded.
    #[must_use]
    pub fn new(records: impl IntoIterator<Item = IncidentRecord>) -> Self {
        let incidents: BTreeMap<Uuid, Arc<IncidentRecord>> = records
            .into_iter()
            .filter(IncidentRecord::is_standing)
            .map(|record| (record.id, Arc::new(record)))
            .collect();
        Self::of(incidents)
    }

    fn of(incidents: BTreeMap<Uuid, Arc<IncidentRecord>>) -> Self {
        let bars = incidents.values().flat_map(|record| record.in_force()).cloned().collect();
        Self { incidents: Arc::new(incidents), bars: Arc::new(bars) }
    }

    /// The same after a change of one.
    #[must_use]
    pub fn with(&self, record: IncidentRecord) -> Self {
        let mut incidents = BTreeMap::clone(&self.incidents);
        if record.is_standing() {
            incidents.insert(record.id, Arc::new(record));
        } else {
            incidents.remove(&record.id);
        }
        Self::of(incidents)
    }

    /// An incident that is not over.
    ///
    /// # Errors
    /// [`IncidentError::NotFound`].
    pub fn find(&self, id: Uuid) -> Result<&Arc<IncidentRecord>, IncidentError> {
        self.incidents.get(&id).ok_or(IncidentError::NotFound)
    }

    /// There may be another one.
    #[must_use]
    pub fn has_room(&self) -> bool {
        self.incidents.len() < INCIDENTS_MAX
    }

    /// Those that are not over.
    pub fn incidents(&self) -> impl Iterator<Item = &Arc<IncidentRecord>> {
        self.incidents.values()
    }

    /// Those whose steps are to be done.
    pub fn running(&self) -> impl Iterator<Item = &Arc<IncidentRecord>> {
        self.incidents.values().filter(|record| record.state == State::Running)
    }

    /// Somebody or something is shut out.
    #[must_use]
    pub fn bars_any(&self) -> bool {
        !self.bars.is_empty()
    }

    /// This is shut out.
    #[must_use]
    pub fn bars(&self, what: &Bar) -> bool {
        !self.bars.is_empty() && self.bars.contains(what)
    }

    /// A node is shut out.
    #[must_use]
    pub fn bars_node(&self, name: &str) -> bool {
        self.bars_any() && self.bars(&Bar::Node(name.to_owned()))
    }

    /// A bearer of tokens is shut out.
    #[must_use]
    pub fn bars_bearer(&self, issuer: &str, subject: &str) -> bool {
        self.bars_any()
            && (self.bars(&Bar::Issuer(issuer.to_owned())) || self.bars(&Bar::Subject(subject.to_owned())))
    }
}
