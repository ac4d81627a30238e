//! The table as a list of instances. Shared with the fuzz target of the same name.

use tekton_kernel::lifecycle::State;
use tekton_kernel::table::{AddError, Beat, Table, TransitionError};

/// A call to the table.
#[derive(Clone, Copy, Debug)]
pub enum Step {
    Add { id: u8, instance: u128, state: State, limit: usize },
    Remove { slot: u32 },
    Transition { id: u8, instance: u128, state: State },
    SetState { slot: u32, state: State },
    Touch { id: u8, instance: u128 },
}

#[derive(Clone, Debug)]
struct Held {
    id: u8,
    instance: u128,
    state: State,
    slot: u32,
}

#[derive(Default)]
struct Model(Vec<Held>);

impl Model {
    fn of(&self, id: u8) -> impl Iterator<Item = &Held> {
        self.0.iter().filter(move |held| held.id == id)
    }

    fn find(&mut self, id: u8, instance: u128) -> Option<&mut Held> {
        self.0.iter_mut().find(|held| held.id == id && held.instance == instance)
    }

    fn in_slot(&mut self, slot: u32) -> Option<&mut Held> {
        self.0.iter_mut().find(|held| held.slot == slot)
    }

    fn refusal(&mut self, id: u8, instance: u128, limit: usize) -> Option<AddError> {
        if self.find(id, instance).is_some() {
            return Some(AddError::Present);
        }
        let live: Vec<u128> =
            self.of(id).filter(|held| !held.state.ended()).map(|held| held.instance).collect();
        (live.len() >= limit).then(|| AddError::Full(live[0]))
    }

    fn transition(&mut self, id: u8, instance: u128, next: State) -> Result<(u32, State), TransitionError> {
        let held = self.find(id, instance).ok_or(TransitionError::Unknown)?;
        if !held.state.may_become(next) {
            return Err(TransitionError::Illegal(held.state));
        }
        Ok((held.slot, std::mem::replace(&mut held.state, next)))
    }
}

fn name(id: u8) -> String {
    format!("component-{id}")
}

fn add(table: &mut Table, model: &mut Model, (id, instance, state, limit): (u8, u128, State, usize)) {
    let refusal = model.refusal(id, instance, limit);
    let added = table.add(&name(id), instance, state, limit);
    assert_eq!(added.err(), refusal);
    if let Ok(slot) = added {
        assert!(model.in_slot(slot).is_none());
        assert!(!table.leases().armed(slot));
        model.0.push(Held { id, instance, state, slot });
        table.leases_mut().arm(slot, 10, 0);
    }
}

fn remove(table: &mut Table, model: &mut Model, slot: u32) {
    assert_eq!(table.remove(slot), model.in_slot(slot).is_some());
    model.0.retain(|held| held.slot != slot);
}

fn touch(table: &mut Table, model: &mut Model, id: u8, instance: u128) {
    let expected = match (model.find(id, instance), table.slots_of(&name(id)).next()) {
        (Some(held), _) => Beat::Known(held.state),
        (None, Some(_)) => Beat::Stale,
        (None, None) => Beat::Unknown,
    };
    assert_eq!(table.touch(&name(id), instance, 1), expected);
}

fn compare(table: &Table, model: &mut Model) {
    assert_eq!(table.len(), model.0.len());
    assert_eq!(table.is_empty(), model.0.is_empty());
    for id in 0..4 {
        assert!(table.slots_of(&name(id)).eq(model.of(id).map(|held| held.slot)));
        for instance in 0..4 {
            assert_eq!(table.find(&name(id), instance), model.find(id, instance).map(|held| held.slot));
        }
    }
    for slot in 0..10 {
        let held = model.in_slot(slot);
        assert_eq!(table.state(slot), held.as_ref().map(|held| held.state));
        assert_eq!(table.leases().armed(slot), held.is_some());
        let identity = table.identity(slot).map(|(id, instance)| (id.to_owned(), instance));
        assert_eq!(identity, held.map(|held| (name(held.id), held.instance)));
    }
}

/// Take the same steps with the table and with the model.
///
/// # Panics
/// When they differ.
pub fn follow(steps: impl IntoIterator<Item = Step>) {
    let (mut table, mut model) = (Table::new(), Model::default());
    for step in steps {
        match step {
            Step::Add { id, instance, state, limit } => {
                add(&mut table, &mut model, (id, instance, state, limit));
            }
            Step::Remove { slot } => remove(&mut table, &mut model, slot),
            Step::Transition { id, instance, state } => {
                let expected = model.transition(id, instance, state);
                assert_eq!(table.transition(&name(id), instance, state), expected);
            }
            Step::SetState { slot, state } => {
                let held = model.in_slot(slot).map(|held| std::mem::replace(&mut held.state, state));
                assert_eq!(table.set_state(slot, state), held);
            }
            Step::Touch { id, instance } => touch(&mut table, &mut model, id, instance),
        }
        compare(&table, &mut model);
    }
}
