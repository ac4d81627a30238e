//! Who listens to a subject.

use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::exceptions::PyUnicodeEncodeError;
use pyo3::prelude::*;
use pyo3::types::{PyString, PyTuple};
use tekton_kernel::subject::{Pattern, Subject, Table};

use crate::error;
use crate::objects;

/// Patterns with listeners. What it keeps of an answer is the tuple: of numbers only, so that no Python code runs when
/// one is dropped.
#[pyclass(frozen, module = "tekton._native")]
pub struct SubjectTable(Mutex<Table<Py<PyTuple>>>);

#[pymethods]
impl SubjectTable {
    #[new]
    #[pyo3(signature = (cache_size = 65536))]
    fn new(cache_size: usize) -> Self {
        Self(Mutex::new(Table::new(cache_size)))
    }

    fn __len__(&self) -> usize {
        self.table().len()
    }

    fn add(&self, pattern: &str, listener: u64) -> PyResult<bool> {
        let pattern = pattern_of(pattern)?;
        Ok(self.table().add(pattern, listener))
    }

    fn remove(&self, pattern: &str, listener: u64) -> PyResult<bool> {
        let pattern = pattern_of(pattern)?;
        Ok(self.table().remove(pattern, listener))
    }

    #[pyo3(name = "match")]
    fn matching<'py>(&self, py: Python<'py>, subject: &str) -> PyResult<Bound<'py, PyTuple>> {
        if let Some(kept) = self.table().find(subject) {
            return Ok(kept.bind(py).clone());
        }
        let subject =
            Subject::parse(subject).map_err(|cause| error::no_subject("subject", subject, cause))?;
        let answer = self.table().collect(subject);
        let listeners =
            objects::tuple(py, answer.listeners.iter().map(|listener| objects::int(py, *listener)))?;
        let mut table = self.table();
        let kept = table.keep(subject, &answer, listeners.clone().unbind());
        Ok(kept.map_or(listeners, |kept| kept.bind(py).clone()))
    }
}

impl SubjectTable {
    /// The kernel changes nothing before it can no longer fail, so a poisoned lock still guards a sound table.
    fn table(&self) -> MutexGuard<'_, Table<Py<PyTuple>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Is it a subject?
#[pyfunction]
pub fn is_valid_subject(text: &Bound<'_, PyString>) -> PyResult<bool> {
    is_subject(text)
}

/// Is it a subject?
pub fn is_subject(text: &Bound<'_, PyString>) -> PyResult<bool> {
    is_valid(text, |text| Subject::parse(text).is_ok())
}

/// Is it a pattern?
#[pyfunction]
pub fn is_valid_pattern(text: &Bound<'_, PyString>) -> PyResult<bool> {
    is_valid(text, |text| Pattern::parse(text).is_ok())
}

/// Does one pattern match all that the other does?
#[pyfunction]
pub fn covers(pattern: &str, other: &str) -> PyResult<bool> {
    Ok(pattern_of(pattern)?.covers(pattern_of(other)?))
}

/// Is there a subject that both match?
#[pyfunction]
pub fn overlaps(pattern: &str, other: &str) -> PyResult<bool> {
    Ok(pattern_of(pattern)?.overlaps(pattern_of(other)?))
}

/// A text with lone surrogates has no UTF-8, and is nothing.
fn is_valid(text: &Bound<'_, PyString>, check: impl FnOnce(&str) -> bool) -> PyResult<bool> {
    match text.to_str() {
        Ok(text) => Ok(check(text)),
        Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(text.py()) => Ok(false),
        Err(error) => Err(error),
    }
}

fn pattern_of(text: &str) -> PyResult<Pattern<'_>> {
    Pattern::parse(text).map_err(|cause| error::no_subject("pattern", text, cause))
}
