//! One-shot timers.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use tekton_kernel::wheel::{Handle, Wheel};

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

    fn schedule(&self, due_tick: u64, payload: Py<PyAny>) -> u64 {
        self.wheel().schedule(due_tick, payload).to_bits()
    }

    fn cancel(&self, handle: u64) -> bool {
        // Dropping a payload can run Python code, so the lock is released first.
        let payload = self.wheel().cancel(Handle::from_bits(handle));
        payload.is_some()
    }

    fn advance(&self, now_tick: u64) -> Vec<Py<PyAny>> {
        self.wheel().advance(now_tick)
    }

    fn next_due(&self) -> Option<u64> {
        self.wheel().next_due()
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
