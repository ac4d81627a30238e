//! `tekton._native`: bindings of the kernels. This file is the table of contents.
//!
//! A binding converts, calls the kernel and converts; the stub `python/tekton/_native.pyi` documents it. Classes are
//! frozen and hold their kernel in a mutex, and no Python code runs while that is locked: results are taken out
//! first and turned into objects afterwards, exceptions too (to make an object can start a garbage collection).

mod envelope;
mod error;
mod finite;
mod flat;
mod graph;
mod ids;
mod message;
mod message_context;
mod message_type;
mod names;
mod objects;
mod routes;
mod subject;
mod table;
mod text;
mod walk;
mod wheel;

/// The native module of the Python package `tekton`.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;
    use pyo3::types::PyTuple;
    use tekton_kernel::lifecycle::MASKS;

    #[pymodule_export]
    use crate::envelope::Envelope;

    #[pymodule_export]
    use crate::graph::{DependencyGraph, resolve, waves};

    #[pymodule_export]
    use crate::ids::uuid7;

    #[pymodule_export]
    use crate::message::Message;

    #[pymodule_export]
    use crate::message_context::MessageContext;

    #[pymodule_export]
    use crate::subject::{SubjectTable, covers, is_valid_pattern, is_valid_subject, overlaps};

    #[pymodule_export]
    use crate::table::ComponentTable;

    #[pymodule_export]
    use crate::wheel::TimerWheel;

    #[pymodule_init]
    fn constants(module: &Bound<'_, PyModule>) -> PyResult<()> {
        crate::ids::forget_in_children(module.py())?;
        module.add("TRANSITION_MASKS", PyTuple::new(module.py(), MASKS)?)
    }
}
