//! The names of a graph's nodes: the caller's own str objects, by node number.

use pyo3::IntoPyObjectExt;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyString};

use crate::objects;

/// Names that are given away, each at most once.
pub struct Names(Vec<Option<Py<PyString>>>);

impl Names {
    pub fn with_capacity(names: usize) -> Self {
        Self(Vec::with_capacity(names))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn push(&mut self, name: Py<PyString>) {
        self.0.push(Some(name));
    }

    /// All names, in node order. None must have been given away.
    pub fn into_vec(self) -> Vec<Py<PyString>> {
        self.0.into_iter().flatten().collect()
    }

    pub fn iter(&self) -> impl Iterator<Item = &Py<PyString>> {
        self.0.iter().flatten()
    }

    /// Give the names of `nodes` away as a list. Moving the references instead of taking new ones is what makes
    /// the answer as cheap as `list(graph)`.
    pub fn give<'py>(&mut self, py: Python<'py>, nodes: &[u32]) -> PyResult<Bound<'py, PyList>> {
        objects::list(py, nodes.iter().map(|node| self.0[*node as usize].take().into_bound_py_any(py)))
    }

    /// One list of names per group.
    pub fn give_groups<'py>(&mut self, py: Python<'py>, groups: &[Vec<u32>]) -> PyResult<Bound<'py, PyList>> {
        let lists: Vec<_> = groups.iter().map(|nodes| self.give(py, nodes)).collect::<PyResult<_>>()?;
        objects::list(py, lists.into_iter().map(Ok))
    }
}
