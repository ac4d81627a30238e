//! Ids that nobody else has: UUIDs of version 7, and traces.
//!
//! The only place of this crate that reads a clock and asks for chance: once, for the key of a pseudo-random function
//! (the standard library's keyed `SipHash`), of which numbers are made by counting. To ask the system for each, even for
//! many at once, takes as long as all the rest of making a message.

use std::hash::{BuildHasher, RandomState};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use pyo3::prelude::*;
use pyo3::types::{PyCFunction, PyDict, PyString};
use tekton_kernel::uuid;

use crate::objects;

struct Source {
    sequence: uuid::Sequence,
    key: RandomState,
    /// A forked child has the key of its parent, and must not make what that makes.
    process: u32,
    count: u64,
}

impl Source {
    fn new() -> Self {
        let (sequence, key) = (uuid::Sequence::new(), RandomState::new());
        Self { sequence, key, process: std::process::id(), count: 0 }
    }

    fn next(&mut self, now_ms: u64) -> u128 {
        let Self { sequence, key, process, count } = self;
        sequence.next(now_ms, || {
            *count += 1;
            key.hash_one((*process, *count))
        })
    }

    fn random(&mut self) -> u128 {
        let mut half = || {
            self.count += 1;
            u128::from(self.key.hash_one((self.process, self.count)))
        };
        half() << 64 | half()
    }
}

static SOURCE: LazyLock<Mutex<Source>> = LazyLock::new(|| Mutex::new(Source::new()));

fn source() -> MutexGuard<'static, Source> {
    SOURCE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// See the stub.
#[pyfunction]
pub fn uuid7(py: Python<'_>) -> PyResult<Bound<'_, PyString>> {
    objects::utf8(py, &uuid::characters(next()))
}

/// A new UUID of version 7.
pub fn next() -> u128 {
    let elapsed = SystemTime::UNIX_EPOCH.elapsed().unwrap_or_default();
    let now_ms = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
    source().next(now_ms)
}

/// 128 bits of chance.
pub fn random() -> u128 {
    source().random()
}

/// Let forked children begin anew.
pub fn forget_in_children(py: Python<'_>) -> PyResult<()> {
    let os = py.import("os")?;
    if !os.hasattr("register_at_fork")? {
        return Ok(());
    }
    let forget = PyCFunction::new_closure(py, None, None, |_, _| *source() = Source::new())?;
    let arguments = PyDict::new(py);
    arguments.set_item("after_in_child", forget)?;
    os.call_method("register_at_fork", (), Some(&arguments)).map(|_| ())
}
