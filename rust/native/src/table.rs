//! The head of the registry.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::IntoPyObjectExt;
use pyo3::buffer::PyBuffer;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyInt, PyList, PyTuple};
use tekton_kernel::bulk;
use tekton_kernel::lifecycle::State;
use tekton_kernel::table::{Beat, Table, TransitionError};
use tekton_kernel::uuid;

use crate::{error, objects};

/// What `touch` returns for a component that is not known.
const UNKNOWN: i32 = -1;
/// What `touch` returns for a component that is known, but by other instances.
const STALE: i32 = -2;

/// A slot per instance: state and lease, found by component id and instance.
#[pyclass(frozen, module = "tekton._native")]
pub struct ComponentTable(Mutex<Table>);

#[pymethods]
impl ComponentTable {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(Table::new()))
    }

    fn __len__(&self) -> usize {
        self.table().len()
    }

    #[pyo3(signature = (component_id, instance_uuid, state, max_instances = 1))]
    fn add<'py>(
        &self,
        py: Python<'py>,
        component_id: &str,
        instance_uuid: &str,
        state: u8,
        max_instances: usize,
    ) -> PyResult<Bound<'py, PyInt>> {
        let instance = uuid::parse(instance_uuid).ok_or_else(|| error::no_uuid(instance_uuid))?;
        let state = state_of(state)?;
        let added = self.table().add(component_id, instance, state, max_instances);
        let slot = added.map_err(|refusal| error::add(py, refusal, component_id, instance_uuid))?;
        let number = objects::int(py, slot.into());
        if number.is_err() {
            self.table().remove(slot);
        }
        number
    }

    fn remove(&self, slot: u32) -> PyResult<()> {
        if self.table().remove(slot) { Ok(()) } else { Err(error::no_slot(slot)) }
    }

    fn find<'py>(
        &self,
        py: Python<'py>,
        component_id: &str,
        instance_uuid: &str,
    ) -> PyResult<Bound<'py, PyAny>> {
        let slot = uuid::parse(instance_uuid).and_then(|instance| self.table().find(component_id, instance));
        slot.map_or_else(
            || (-1).into_bound_py_any(py),
            |slot| objects::int(py, slot.into()).map(Bound::into_any),
        )
    }

    fn slots<'py>(&self, py: Python<'py>, component_id: &str) -> PyResult<Bound<'py, PyList>> {
        let slots: Vec<u32> = self.table().slots_of(component_id).collect();
        objects::ints(py, &slots)
    }

    fn identity<'py>(&self, py: Python<'py>, slot: u32) -> PyResult<Bound<'py, PyTuple>> {
        let identity = self.table().identity(slot).map(|(id, instance)| (id.to_owned(), instance));
        let (id, instance) = identity.ok_or_else(|| error::no_slot(slot))?;
        objects::pair(objects::text(py, &id)?, objects::text(py, &uuid::format(instance))?)
    }

    fn state(&self, slot: u32) -> PyResult<u8> {
        let state = self.table().state(slot);
        state.map(State::code).ok_or_else(|| error::no_slot(slot))
    }

    fn transition<'py>(
        &self,
        py: Python<'py>,
        component_id: &str,
        instance_uuid: &str,
        state: u8,
    ) -> PyResult<Bound<'py, PyTuple>> {
        let next = state_of(state)?;
        let moved = match uuid::parse(instance_uuid) {
            Some(instance) => self.table().transition(component_id, instance, next),
            None => Err(TransitionError::Unknown),
        };
        let (slot, previous) =
            moved.map_err(|refusal| error::transition(py, refusal, component_id, instance_uuid, next))?;
        let numbers = [u64::from(slot), previous.code().into()];
        let answer = objects::tuple(py, numbers.into_iter().map(|number| objects::int(py, number)));
        if answer.is_err() {
            self.table().set_state(slot, previous);
        }
        answer
    }

    fn set_state(&self, slot: u32, state: u8) -> PyResult<u8> {
        let next = state_of(state)?;
        let previous = self.table().set_state(slot, next);
        previous.map(State::code).ok_or_else(|| error::no_slot(slot))
    }

    fn arm(&self, slot: u32, timeout_ticks: u32, now_tick: u32) -> PyResult<()> {
        let mut table = self.table();
        let used = table.state(slot).is_some();
        if used {
            table.leases_mut().arm(slot, timeout_ticks, now_tick);
        }
        drop(table);
        if used { Ok(()) } else { Err(error::no_slot(slot)) }
    }

    fn disarm(&self, slot: u32) {
        self.table().leases_mut().disarm(slot);
    }

    fn armed(&self, slot: u32) -> bool {
        self.table().leases().armed(slot)
    }

    fn touch(&self, component_id: &str, instance_uuid: &str, now_tick: u32) -> i32 {
        let mut table = self.table();
        let beat = match uuid::parse(instance_uuid) {
            Some(instance) => table.touch(component_id, instance, now_tick),
            None if table.slots_of(component_id).next().is_some() => Beat::Stale,
            None => Beat::Unknown,
        };
        match beat {
            Beat::Known(state) => i32::from(state.code()),
            Beat::Stale => STALE,
            Beat::Unknown => UNKNOWN,
        }
    }

    fn touch_slots<'py>(&self, slots: &Bound<'py, PyAny>, now_tick: u32) -> PyResult<Bound<'py, PyInt>> {
        objects::int(slots.py(), self.touch_buffer(slots, now_tick)? as u64)
    }

    fn expire<'py>(&self, py: Python<'py>, now_tick: u32) -> PyResult<Bound<'py, PyList>> {
        let expired = self.table().leases_mut().expire(now_tick);
        let answer = objects::ints(py, &expired);
        if answer.is_err() {
            // Nobody has heard of them, so they are due again.
            let mut table = self.table();
            for slot in &expired {
                table.leases_mut().arm(*slot, 0, now_tick);
            }
        }
        answer
    }

    fn due<'py>(&self, py: Python<'py>, now_tick: u32) -> PyResult<Bound<'py, PyInt>> {
        let due = self.table().leases().due(now_tick);
        objects::int(py, due as u64)
    }

    fn extend(&self, ticks: u32) {
        self.table().leases_mut().extend(ticks);
    }

    fn next_deadline<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyInt>>> {
        let deadline = self.table().leases().next_deadline();
        deadline.map(|deadline| objects::int(py, deadline.into())).transpose()
    }

    #[staticmethod]
    fn transitions_legal<'py>(py: Python<'py>, pairs: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
        PyBytes::new_with(py, pairs.len() / 2, |legal| {
            bulk::check_pairs(pairs, legal);
            Ok(())
        })
    }
}

impl ComponentTable {
    /// The kernel changes nothing before it can no longer fail, so a poisoned lock still guards a sound table.
    fn table(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn touch_buffer(&self, slots: &Bound<'_, PyAny>, now_tick: u32) -> PyResult<usize> {
        if let Ok(bytes) = slots.cast::<PyBytes>() {
            return Ok(self.touch_all(little_endian(bytes.as_bytes()), now_tick));
        }
        // Other buffers can change while they are read, so they are copied first.
        if let Ok(numbers) = PyBuffer::<u32>::get(slots) {
            return Ok(self.touch_all(numbers.to_vec(slots.py())?.into_iter(), now_tick));
        }
        let bytes = PyBuffer::<u8>::get(slots)?.to_vec(slots.py())?;
        Ok(self.touch_all(little_endian(&bytes), now_tick))
    }

    fn touch_all(&self, slots: impl Iterator<Item = u32>, now_tick: u32) -> usize {
        let mut table = self.table();
        let leases = table.leases_mut();
        slots.filter(|slot| leases.touch(*slot, now_tick)).count()
    }
}

fn state_of(code: u8) -> PyResult<State> {
    State::from_code(code).ok_or_else(|| error::no_state(code))
}

fn little_endian(bytes: &[u8]) -> impl Iterator<Item = u32> {
    bytes.as_chunks::<4>().0.iter().map(|number| u32::from_le_bytes(*number))
}
