//! One-shot timers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::{PyInt, PyList};
use tekton_kernel::wheel::{Handle, Wheel};

use crate::objects;

/// Timers, each with an object to give back when it is due.
#[pyclass(frozen, module = "tekton._native")]
pub struct TimerWheel(Mutex<Wheel<Py<PyAny>>>);

#[pymethods]
impl TimerWheel {
    #[new]
    fn new() -> Self {
        Self(Mutex::new(Wheel::new()))
    }

    fn __len__(&self) -> usize {
        self.wheel().len()
    }

    fn schedule<'py>(&self, due_tick: u64, payload: Bound<'py, PyAny>) -> PyResult<Bound<'py, PyInt>> {
        let py = payload.py();
        let handle = self.wheel().schedule(due_tick, payload.unbind());
        let answer = objects::int(py, handle.to_bits());
        if answer.is_err() {
            let payload = self.wheel().cancel(handle);
            drop(payload);
        }
        answer
    }

    fn cancel(&self, handle: u64) -> bool {
        // Dropping a payload can run Python code, so the lock is released first.
        let payload = self.wheel().cancel(Handle::from_bits(handle));
        payload.is_some()
    }

    fn advance<'py>(&self, py: Python<'py>, now_tick: u64) -> PyResult<Bound<'py, PyList>> {
        let payloads = self.wheel().advance(now_tick);
        let answer = objects::list(py, payloads.iter().map(|payload| Ok(payload.bind(py).clone())));
        if answer.is_err() {
            // Nobody has heard of them, so they are due again.
            let mut wheel = self.wheel();
            for payload in payloads {
                wheel.schedule(now_tick, payload);
            }
        }
        answer
    }

    fn next_due<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyInt>>> {
        let due = self.wheel().next_due();
        due.map(|due| objects::int(py, due)).transpose()
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        // A wheel in use is not garbage, so there is nothing to wait for.
        let Ok(wheel) = self.0.try_lock() else { return Ok(()) };
        wheel.payloads().try_for_each(|payload| visit.call(payload))
    }

    fn __clear__(&self) {
        let payloads = self.wheel().clear();
        drop(payloads);
    }
}

impl TimerWheel {
    /// The kernel changes nothing before it can no longer fail, so a poisoned lock still guards a sound wheel.
    fn wheel(&self) -> MutexGuard<'_, Wheel<Py<PyAny>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
