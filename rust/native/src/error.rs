//! The one road from kernel errors to Python exceptions.

use pyo3::PyTypeInfo;
use pyo3::exceptions::{PyIndexError, PyOverflowError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyTuple, PyType};
use tekton_kernel::graph::TooLarge;
use tekton_kernel::lifecycle::State;
use tekton_kernel::subject::{Invalid, MAX_BYTES};
use tekton_kernel::table::{AddError, TransitionError};
use tekton_kernel::uuid;

use crate::objects;

pyo3::import_exception!(tekton.utils.tekton_errors, ComponentExistsError);
pyo3::import_exception!(tekton.utils.tekton_errors, IllegalTransitionError);
pyo3::import_exception!(tekton.utils.tekton_errors, StaleInstanceError);

/// The refusal to add `instance` to `component_id`.
pub fn add(py: Python<'_>, error: AddError, component_id: &str, instance: &str) -> PyErr {
    match error {
        AddError::Present => {
            with_message::<PyValueError>(&format!("{component_id} {instance} is in the table"))
        }
        AddError::Full(holder) => {
            let holder = uuid::format(holder);
            make(&py.get_type::<ComponentExistsError>(), &[component_id, &holder], None)
        }
    }
}

/// The refusal to move `instance` of `component_id` to `next`.
pub fn transition(
    py: Python<'_>,
    error: TransitionError,
    component_id: &str,
    instance: &str,
    next: State,
) -> PyErr {
    match error {
        TransitionError::Unknown => {
            make(&py.get_type::<StaleInstanceError>(), &[component_id, instance], None)
        }
        TransitionError::Illegal(current) => {
            let legal: Vec<&str> = current.successors().map(State::name).collect();
            let kind = py.get_type::<IllegalTransitionError>();
            make(&kind, &[component_id, current.name(), next.name()], Some(&legal))
        }
    }
}

/// An exception whose arguments are texts and, if there is one, a list of texts. Made here and not, by `PyO3`, when it
/// is raised: without memory that aborts the process.
fn make(kind: &Bound<'_, PyType>, texts: &[&str], last: Option<&[&str]>) -> PyErr {
    match arguments(kind.py(), texts, last).and_then(|arguments| kind.call1(arguments)) {
        Ok(exception) => PyErr::from_value(exception),
        Err(error) => error,
    }
}

/// An exception with nothing but a message.
pub fn with_message<T: PyTypeInfo>(message: &str) -> PyErr {
    Python::attach(|py| make(&py.get_type::<T>(), &[message], None))
}

fn arguments<'py>(py: Python<'py>, texts: &[&str], last: Option<&[&str]>) -> PyResult<Bound<'py, PyTuple>> {
    let text = |text: &&str| objects::text(py, text).map(Bound::into_any);
    let mut arguments = texts.iter().map(text).collect::<PyResult<Vec<_>>>()?;
    if let Some(texts) = last {
        arguments.push(objects::list(py, texts.iter().map(text))?.into_any());
    }
    objects::tuple(py, arguments.into_iter().map(Ok))
}

/// `slot` is not in use.
pub fn no_slot(slot: u32) -> PyErr {
    with_message::<PyIndexError>(&format!("slot {slot} is not in use"))
}

/// `code` is not the index of a state.
pub fn no_state(code: u8) -> PyErr {
    with_message::<PyValueError>(&format!("{code} is not the index of a state"))
}

/// `text` is not an instance id.
pub fn no_uuid(text: &str) -> PyErr {
    with_message::<PyValueError>(&format!("{text:?} is not a UUID"))
}

/// `text` is no subject, or no pattern: `kind` says which.
pub fn no_subject(kind: &str, text: &str, cause: Invalid) -> PyErr {
    // As much of it as could have been valid.
    let shown: String = text.chars().take(MAX_BYTES).collect();
    with_message::<PyValueError>(&format!("{shown:?} is not a {kind}: {cause}"))
}

/// The graph does not fit.
pub fn too_large(_: TooLarge) -> PyErr {
    with_message::<PyOverflowError>("a graph holds fewer than 2**32 - 1 nodes and 2**32 edges")
}
